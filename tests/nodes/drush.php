<?php
// Stands in for drush: does what Packmaster builds upon, and notes how it was called, and what anybody could
// read meanwhile of the arguments of all processes.

namespace Drupal\user\Entity {
    class User
    {
        private string $password = '';

        public static function load(int $uid): self
        {
            return new self();
        }

        public function setPassword(string $password): self
        {
            $this->password = $password;
            return $this;
        }

        public function save(): void
        {
            $statement = $GLOBALS['server']->prepare('UPDATE users_field_data SET pass = ? WHERE uid = 1');
            $statement->execute([$this->password]);
        }
    }
}

namespace {
    $options = $words = [];
    foreach (array_slice($argv, 1) as $word) {
        if (str_starts_with($word, '--')) {
            [$name, $value] = [...explode('=', substr($word, 2), 2), ''];
            $options[$name] = $value;
        } else {
            $words[] = $word;
        }
    }
    $seen = implode("\n", array_map(static fn ($file) => @file_get_contents($file), glob('/proc/[0-9]*/cmdline')));
    $user = posix_getpwuid(posix_geteuid())['name'];
    $note = ['command' => $words[0], 'options' => $options, 'user' => $user, 'seen' => $seen];
    $line = json_encode($note, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE) . "\n";
    file_put_contents(getenv('PACKMASTER_DATA') . '/private/drush.log', $line, FILE_APPEND);

    chdir($options['root']);
    require "sites/{$options['uri']}/settings.php";
    $db = $databases['default']['default'];
    mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
    $server = new mysqli($db['host'], $db['username'], $db['password'], $db['database'], (int) $db['port']);
    if ($words[0] === 'status') {
        echo $server->query("SHOW TABLES LIKE 'users_field_data'")->num_rows ? "Successful\n" : "\n";
    } elseif ($words[0] === 'site:install') {
        $server->query('CREATE TABLE users_field_data (uid INT PRIMARY KEY, name VARCHAR(60), pass VARCHAR(255))');
        $statement = $server->prepare("INSERT INTO users_field_data VALUES (1, ?, 'made up by drush')");
        $statement->execute([$options['account-name']]);
        echo "Installation complete.  User name: {$options['account-name']}  User password: made up by drush\n";
    } elseif ($words[0] === 'php:eval') {
        eval($words[1]);
    } else {
        exit(1);
    }
}
