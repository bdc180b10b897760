<?php
// Installs Drupal once with the drush of the release. Its output is kept back: it prints a password of its own.
$root = getcwd();
$drush = null;
for ($directory = $root; strlen($directory) > 1 && !$drush; $directory = dirname($directory)) {
    $drush = is_file("$directory/vendor/bin/drush") ? "$directory/vendor/bin/drush" : null;
}
if (!$drush) {
    exit("packmaster: manual\n");
}
$site = $_SERVER['PACKMASTER_SITE'];
$run = static function (array $words) use ($drush, $root, $site): array {
    $pipes = [1 => ['pipe', 'w'], 2 => ['redirect', 1]];
    $process = proc_open([PHP_BINARY, $drush, "--root=$root", "--uri=$site", '--yes', ...$words], $pipes, $ends);
    $text = stream_get_contents($ends[1]);
    return [proc_close($process), $text];
};
[$status, $text] = $run(['status', '--field=bootstrap']);
$present = $status === 0 && str_contains($text, 'Successful');
if (!$present) {
    [$status, $text] = $run(['site:install', "--sites-subdir=$site", '--site-name=' . $_SERVER['PACKMASTER_TITLE'],
        '--account-name=' . $_SERVER['PACKMASTER_ADMIN_USER'], '--account-mail=' . $_SERVER['PACKMASTER_ADMIN_EMAIL']]);
    if ($status !== 0) {
        fwrite(STDERR, preg_replace('/password: .*/i', 'password: (hidden)', substr($text, -2000)) . "\n");
        exit(1);
    }
    // Through the environment, for arguments are seen by everybody on the machine.
    [$status, $text] = $run(['php:eval', '$user = \Drupal\user\Entity\User::load(1);'
        . '$user->setPassword(getenv("PACKMASTER_ADMIN_PASSWORD"))->save();']);
    if ($status !== 0) {
        fwrite(STDERR, "Drupal is installed, but the administrator's password could not be set\n");
        exit(1);
    }
}
echo $present ? "packmaster: present\n" : "packmaster: installed\n";
