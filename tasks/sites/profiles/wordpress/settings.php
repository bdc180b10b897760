<?php
// Written by Packmaster; the seed is made once and kept. Cookies and nonces depend on it, so it is secret.
define('PACKMASTER_SEED', '@SEED@');
$table_prefix = 'wp_';
