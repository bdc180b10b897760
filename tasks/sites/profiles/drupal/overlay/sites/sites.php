<?php
// The virtual host knows which site a request is for; aliases need no entries of their own.
// Keys are written as DrupalKernel::findSitePath() looks for them: the port first.
if (!empty($_SERVER['PACKMASTER_SITE']) && !empty($_SERVER['HTTP_HOST'])) {
    $packmaster_host = rtrim(strtolower((string) $_SERVER['HTTP_HOST']), '.');
    $sites[implode('.', array_reverse(explode(':', $packmaster_host)))] = $_SERVER['PACKMASTER_SITE'];
}
