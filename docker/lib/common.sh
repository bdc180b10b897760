# shellcheck shell=bash
# Sourced by the scripts next door. Sets ROOT (the repository) and PACKMASTER_HOME (what the
# scripts keep between runs, ignored by git).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PACKMASTER_HOME=${PACKMASTER_HOME:-$ROOT/.packmaster}

say() { printf '%s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

is_debian() { [ "$(. /etc/os-release 2>/dev/null && printf '%s' "${ID:-}")" = debian ] && have apt-get; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# apt_install WHY PACKAGE...: installs on Debian as root, else says what a person has to do.
apt_install() {
    local why=$1
    shift
    if ! is_debian; then
        die "$why" "This is not Debian, so it is yours to install. The Debian packages are: $*"
    fi
    if ! is_root; then
        die "$why" "Run this as root, then try again:" \
            "    apt-get update && apt-get install --no-install-recommends $*"
    fi
    say "installing $*"
    mkdir -p "$PACKMASTER_HOME"
    local log=$PACKMASTER_HOME/apt.log
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        die "apt could not install: $*" "The whole output is in $log"
    fi
}

# compose ARGUMENT...: the plugin where there is one, Debian's v1 otherwise.
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    else
        docker-compose "$@"
    fi
}
have_compose() { docker compose version >/dev/null 2>&1 || have docker-compose; }
