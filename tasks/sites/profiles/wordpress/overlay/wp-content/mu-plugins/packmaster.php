<?php
/*
Plugin Name: Packmaster
Description: Keeps uploads in the site's data directory, for the code is read-only and shared by many sites.
*/

if (!defined('ABSPATH')) {
    exit;
}

add_filter('upload_dir', static function (array $uploads): array {
    $uploads['basedir'] = packmaster_env('PACKMASTER_DATA') . '/files';
    $uploads['baseurl'] = WP_HOME . '/wp-content/uploads';
    $uploads['path'] = $uploads['basedir'] . $uploads['subdir'];
    $uploads['url'] = $uploads['baseurl'] . $uploads['subdir'];
    return $uploads;
});
