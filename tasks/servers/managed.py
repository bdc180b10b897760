"""The files prepare-server owns on a node, as they have to be. Pure text; PHP stands for the version."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.fleet import CONFIG, HOME, PLATFORM_USER, PLATFORMS, SITES, WEB_GROUP, ServerKind
from tasks.servers.state import PHP, PHP_SERVICE, PHP_SOCKET, WEB_SERVICE

TEST_HELPER = "/usr/local/sbin/packmaster-test-config"
SUDOERS = "/etc/sudoers.d/packmaster"
APACHE_CONF = "/etc/apache2/conf-available/packmaster.conf"
POOL = f"/etc/php/{PHP}/fpm/pool.d/packmaster.conf"
NGINX_CONF = "/etc/nginx/nginx.conf"
APACHE_CONF_LINK = "/etc/apache2/conf-enabled/packmaster.conf"
DEFAULT_SITE: dict[ServerKind, str] = {
    "apache": "/etc/apache2/sites-enabled/000-default.conf",
    "nginx": "/etc/nginx/sites-enabled/default",
}
LIVE = f"{CONFIG}/live"
AUTHORIZED_KEYS = f"{HOME}/.ssh/authorized_keys"
# No set of files has this digest, so the first real configuration is always a change.
FIRST_GENERATION = "000000000000"

APACHE_MODULES = ("alias", "dir", "headers", "proxy_fcgi", "rewrite", "setenvif")
_PACKAGES = (
    *("rsync", "sudo", "php-fpm", "php-cli", "php-mysql", "php-xml", "php-gd"),
    *("php-mbstring", "php-curl", "php-zip"),
)

_HEAD = "Written by Packmaster (flow prepare-server): changes made here are undone by its next run."


@dataclass(frozen=True, slots=True)
class ManagedFile:
    """A file that is wholly ours. `guard` is what has to accept it: a service, `sudoers`, or nothing."""

    path: str
    content: str
    mode: int
    guard: str = ""


@dataclass(frozen=True, slots=True)
class ManagedDirectory:
    path: str
    mode: int
    owner: str = PLATFORM_USER
    group: str = PLATFORM_USER


# The configuration tree holds database credentials: only the platform user reads it, and root as master.
# Others may pass through `sites` to a directory they know of, but not list whose sites these are.
DIRECTORIES = (
    ManagedDirectory(HOME, 0o755),
    ManagedDirectory(f"{HOME}/.ssh", 0o700),
    ManagedDirectory(PLATFORMS, 0o755),
    ManagedDirectory(SITES, 0o711),
    ManagedDirectory(CONFIG, 0o700),
    ManagedDirectory(f"{CONFIG}/generations", 0o700),
)


def packages_for(kind: ServerKind) -> tuple[str, ...]:
    """The Debian packages a web server of this kind needs."""
    return (*_PACKAGES, WEB_SERVICE[kind])


def managed_files(kind: ServerKind) -> tuple[ManagedFile, ...]:
    """Every file that is ours on a web server of this kind, in the order to write them."""
    helper = _APACHE_TEST if kind == "apache" else _NGINX_TEST
    files = [
        ManagedFile(TEST_HELPER, helper, 0o755),
        ManagedFile(SUDOERS, _sudoers(kind), 0o440, "sudoers"),
        ManagedFile(POOL, _POOL, 0o644, PHP_SERVICE),
    ]
    if kind == "apache":
        files.append(ManagedFile(APACHE_CONF, _APACHE_CONF, 0o644, "apache2"))
    return tuple(files)


def sudo_rules(kind: ServerKind) -> tuple[str, ...]:
    """The commands the platform user may run as root; `""` means: without any argument (sudoers(5))."""
    web = WEB_SERVICE[kind]
    actions = ((web, "reload"), (web, "start"), (PHP_SERVICE, "reload"))
    return (
        f'{TEST_HELPER} ""',
        *(f"/usr/bin/systemctl {action} {service}" for service, action in actions),
        *(f"/usr/sbin/service {service} {action}" for service, action in actions),
    )


# The web server's master process reads, as root, what the platform user wrote, and can be made to execute it
# (apache: LoadModule, piped logs). So these rules keep mistakes small; they are no wall against that user.
def _sudoers(kind: ServerKind) -> str:
    rules = "".join(f"{PLATFORM_USER} ALL=(root) NOPASSWD: {rule}\n" for rule in sudo_rules(kind))
    return (
        f"# {_HEAD}\n{rules}"
        f"# It decides what code {WEB_GROUP} executes anyway; it has to own and run that user's files, too.\n"
        f"{PLATFORM_USER} ALL=({WEB_GROUP}) NOPASSWD: ALL\n"
    )


# The distribution's pool `www` stays as it is: other things on the server may use it, and php-fpm does not
# start without any pool, so removing it would open a moment in which a reboot leaves the server without PHP.
# Releases are immutable and php-fpm is reloaded after a switch: opcache only checks for people who edit by
# hand; every two seconds costs nothing measurable.
_POOL = f"""; {_HEAD}
[global]
; A reload lets requests that are being answered finish; by default it cuts them off.
process_control_timeout = 10s

[packmaster]
user = {WEB_GROUP}
group = {WEB_GROUP}
listen = {PHP_SOCKET}
listen.owner = {WEB_GROUP}
listen.group = {WEB_GROUP}
listen.mode = 0660
pm = ondemand
pm.max_children = 10
pm.process_idle_timeout = 60s
pm.max_requests = 1000
clear_env = yes
security.limit_extensions = .php
php_admin_flag[opcache.validate_timestamps] = on
php_admin_value[opcache.revalidate_freq] = 2
php_value[memory_limit] = 256M
php_value[upload_max_filesize] = 64M
php_value[post_max_size] = 64M
"""

_APACHE_CONF = f"""# {_HEAD}
<IfDefine PackmasterStaged>
    IncludeOptional {CONFIG}/staged/*.conf
</IfDefine>
<IfDefine !PackmasterStaged>
    IncludeOptional {CONFIG}/live/*.conf
</IfDefine>
"""

_APACHE_TEST = f"""#!/bin/sh
# {_HEAD}
# Tests the staged configuration with the real binary, and nothing else: it takes no arguments.
exec /usr/sbin/apache2ctl -t -D PackmasterStaged
"""

# nginx reads relative includes from beside its main file, so the variant has to lie there.
_NGINX_TEST = f"""#!/bin/sh
# {_HEAD}
# Tests the staged configuration with the real binary, and nothing else: it takes no arguments.
set -eu
variant=/etc/nginx/packmaster-staged.conf
# Only here: what nginx itself makes, such as its pid file, keeps its usual mode.
(umask 077; sed 's#{CONFIG}/live/#{CONFIG}/staged/#' {NGINX_CONF} >"$variant")
exec /usr/sbin/nginx -t -q -c "$variant"
"""
