// Run by `php -r`: what would be secret in an argument or a file comes through standard input.
$job = json_decode(stream_get_contents(STDIN), true, 8, JSON_THROW_ON_ERROR);
foreach ($job['environment'] as $name => $value) {
    $_SERVER[$name] = $value;
    putenv("$name=$value");
}
chdir($job['docroot']) || exit(66);
eval('?>' . $job['script']);
