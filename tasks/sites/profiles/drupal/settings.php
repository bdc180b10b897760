<?php
// Written by Packmaster; the seed is made once and kept. One-time links and forms depend on it, so it is secret.
// The database comes from the virtual host's environment. What is yours goes into settings.local.php beside this.
defined('PACKMASTER_SEED') || define('PACKMASTER_SEED', '@SEED@');

$packmaster_env = static function (string $name): string {
    $value = $_SERVER[$name] ?? getenv($name);
    return is_string($value) ? $value : '';
};
$databases['default']['default'] = [
    'driver' => 'mysql',
    'namespace' => 'Drupal\\mysql\\Driver\\Database\\mysql',
    'autoload' => 'core/modules/mysql/src/Driver/Database/mysql/',
    'host' => $packmaster_env('DB_HOST'),
    'port' => $packmaster_env('DB_PORT'),
    'database' => $packmaster_env('DB_NAME'),
    'username' => $packmaster_env('DB_USER'),
    'password' => $packmaster_env('DB_PASSWORD'),
    'prefix' => '',
    'init_commands' => ['isolation_level' => 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'],
];

$settings['hash_salt'] = hash_hmac('sha256', 'hash_salt', PACKMASTER_SEED);
$settings['file_public_path'] = 'sites/' . basename(__DIR__) . '/files';
$settings['file_private_path'] = __DIR__ . '/private/files';
$settings['config_sync_directory'] = __DIR__ . '/private/config';
// The virtual host lets only this site's names through.
$settings['trusted_host_patterns'] = ['.*'];
// Owners and modes are Packmaster's; Drupal would take the web group's right to enter away.
$settings['skip_permissions_hardening'] = true;
$settings['update_free_access'] = false;

if (is_readable(__DIR__ . '/settings.local.php')) {
    require __DIR__ . '/settings.local.php';
}
