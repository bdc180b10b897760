# Put before the other scripts. A service is named as its init script is: apache2, nginx, php8.2-fpm.
pending=/run/packmaster
policy=/usr/sbin/policy-rc.d

test_service() {
    case $1 in
        apache2) apache2ctl -t 2>&1 ;;
        nginx) nginx -t -q 2>&1 ;;
        php*-fpm) version=${1#php} && "php-fpm${version%-fpm}" -t 2>&1 ;;
    esac
}

# Remembered until the service was told; on a file system that a reboot empties, for then it starts anew.
mark_reload() {
    mkdir -p "$pending"
    : >"$pending/reload-$1"
}

has_systemd() { [ -d /run/systemd/system ]; }

# service(8) asks systemd about every socket unit before it starts a service: a small machine needs seconds for that.
if has_systemd; then
    is_running() { systemctl is-active --quiet "$1"; }
    control() { systemctl "$1" "$2"; }
else
    is_running() { service "$1" status >/dev/null 2>&1; }
    control() { service "$2" "$1"; }
fi

# The version that the distribution means by "php-fpm" (others may be installed beside it), or nothing.
php_version() {
    version=$(dpkg-query -W -f '${Depends}' php-fpm 2>/dev/null | sed -n 's/.*php\([0-9][0-9.]*\)-fpm.*/\1/p')
    [ -z "$version" ] || [ ! -d "/etc/php/$version/fpm" ] || printf '%s\n' "$version"
}

policy_is_ours() { grep -qs '^# packmaster:' "$policy"; }

# The server's own policy, where it had one, is in force again.
restore_policy() {
    if policy_is_ours; then
        if [ -e "$policy.kept" ]; then mv -f "$policy.kept" "$policy"; else rm -f "$policy"; fi
    fi
}
