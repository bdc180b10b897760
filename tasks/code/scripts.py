"""The shell that runs on a node: constant texts, their values come as arguments or on standard input.

How a release is made there is in staging.py.

In all of them `$1` is the platform's directory. Releases are found by the shape of their names; nothing else
in `releases/` is looked at or touched. Every script can be killed anywhere and run again.
"""

from __future__ import annotations

from tasks.code.walks import DIGEST, LISTING, NOT_SITE_LINKS, PLAIN_DIGEST, READ_NOTES, STRUCTURE
from tasks.scripts import CONTROL

# $2: `none`, `current` or `all`: whose listing is computed again; $3: a content, or empty. With a content,
# the current release is only looked at when that is what it has: another one is looked at when it is copied.
READ_FACTS = f"""
probe=$1
while [ ! -d "$probe" ]; do probe=$(dirname "$probe"); done
[ -w "$probe" ] || echo "readonly $probe"
df -B1 --output=avail,iavail "$probe" | {{ read -r _ && read -r free && echo "free $free"; }} || true
cd "$1/releases" 2>/dev/null || exit 0
is_being_removed() {{ [ -e ../manifests/.lock-trash ] && ! flock -n ../manifests/.lock-trash true; }}
current=$(readlink ../current || true)
if [ -n "$current" ]; then echo "current $current"; fi
for name in * .staging-* .linking-* .trash-*; do
    case $name in
    .trash-[0-9]*)
        if [ -d "$name" ] && ! is_being_removed; then echo "leftover $name"; fi
        continue
        ;;
    .staging-[0-9]* | .linking-[0-9]*)
        if [ -d "$name" ]; then echo "leftover $name"; fi
        continue
        ;;
    *[!0-9a-f-]* | -*) continue ;;
    esac
    [ -d "$name" ] && [ ! -L "$name" ] || continue
    echo "release $name"
    [ -f "../manifests/$name" ] || continue
    {{ {READ_NOTES} }} <"../manifests/$name"
    printf 'note content %s\\nnote listing %s\\n' "$content" "$noted"
    look=$2
    if [ "$2" = current ] && [ "$current" = "releases/$name" ] && [ -n "$content" ]; then
        case $content in "$3"*) look=all ;; esac
    fi
    if [ "$look" = all ]; then
        seen=$(cd "$name" && {LISTING} | {DIGEST})
        echo "seen ${{seen%% *}}"
    fi
done
"""

# $2: release. Standard input: paths, NUL-terminated. Prints a structure and a content digest.
VERIFY = f"""
cd "$1/releases/$2"
{STRUCTURE}
xargs -0 -r b2sum -z -l 256 -- | {PLAIN_DIGEST}
"""

# $2: a directory in releases/. Prints every entry with its content digest, in two NUL-terminated lists.
READ_LISTING = f"""
cd "$1/releases/$2"
find . -mindepth 1 \\( {NOT_SITE_LINKS} \\) -o -type d -printf 'd %m\\t%P\\0' \\
    -o -type l -printf 'l\\t%P\\t%l\\0' -o -type f -printf 'f %m %s\\t%P\\0' -o -printf '%y\\t%P\\0'
printf '\\0'
find . -type f -print0 | xargs -0 -r b2sum -z -l 256 --
"""

# $2: a directory in releases/ that is not verified.
DISCARD = """
cd "$1/releases"
case $2 in .staging-*) rm -rf "$2"; rm -f "../manifests/".[a-z]*"${2#.staging}" ;; esac
"""

# The listing of a release, as it is recorded when the release was verified. Its path is `$1/releases/$2`.
MAKE_LISTING = f"""
cd "$1/releases/$2"
{LISTING} | {PLAIN_DIGEST}
"""

# Defines tell_php: php-fpm forgets what it remembers of the code. Its pool is in the directory of the version
# that serves.
TELL_PHP = f"""
{CONTROL}
tell_php() {{
    for pool in /etc/php/*/fpm/pool.d/packmaster.conf; do
        [ -f "$pool" ] || {{ echo "there is no php-fpm pool packmaster: run prepare-server" >&2; exit 69; }}
        version=${{pool#/etc/php/}}
        said=$(control reload "php${{version%%/*}}-fpm" 2>&1) ||
            {{ printf 'php-fpm cannot be reloaded: %s\n' "$said" >&2; exit 69; }}
    done
}}
"""

# Defines tidy_later: TIDY of tidy.py ($1), of a platform's directory ($2) and a release ($3), begins in so
# many seconds ($4). It is on its own from the start, and nothing fails because of it.
TIDY_LATER = """
tidy_later() {
    setsid -f timeout -k 2 600 nice -n 19 sh -euc "$1" packmaster "$2" "$3" "$4" </dev/null >/dev/null 2>&1 ||
        true
}
"""

# $2: release, or empty to take `current` away. $3, $4: TIDY, and when it begins. Prints what it did.
# PHP is told in the same command, which outlives its connection: a controller that is killed after the switch
# must not leave php-fpm with what it remembers of the old code.
SWITCH = f"""
cd "$1"
trap '' HUP PIPE
{TELL_PHP}
{TIDY_LATER}
now=$(readlink current || true)
if [ -z "$2" ]; then
    if [ -n "$now" ]; then rm -f current; tell_php; echo switched; fi
    exit 0
fi
[ "$now" != "releases/$2" ] || exit 0
[ -d "releases/$2" ] && [ -f "manifests/$2" ] || {{ echo "release $2 is not complete" >&2; exit 66; }}
if [ -e current ] && [ ! -L current ]; then echo "current is not a link" >&2; exit 73; fi
rm -f .current-new
ln -s "releases/$2" .current-new
mv -T .current-new current
tell_php
tidy_later "$3" "$1" "$2" "$4"
echo switched
"""

# $2, $3: TIDY, and when it begins; then releases and left-overs to remove. A release is renamed, for half of
# one is never to be taken for one. TIDY removes it, and .lock-trash is held until then, so that READ_FACTS
# calls it no left-over. One that is there when nobody holds that is removed here, where it is seen to fail.
PRUNE = f"""
{TIDY_LATER}
cd "$1/releases"
keep=$(readlink ../current || true)
platform=$1 tidy=$2 after=$3 trash=
shift 3
for name in "$@"; do
    [ "$keep" != "releases/$name" ] || {{ echo "$name is current" >&2; exit 73; }}
    [ -d "$name" ] && [ ! -L "$name" ] || continue
    case $name in
    .*) rm -rf "$name"; rm -f "../manifests/".[a-z]*-"${{name#.[a-z]*-}}" ;;
    *)
        [ ! -e ".trash-$name" ] || rm -rf ".trash-$name"
        mv -T "$name" ".trash-$name"
        rm -f "../manifests/$name"
        trash=yes
        ;;
    esac
    echo "removed $name"
done
if [ -n "$trash" ]; then
    exec 8>../manifests/.lock-trash
    flock -n 8 || true
    tidy_later "$tidy" "$platform" "${{keep#releases/}}" "$after"
fi
"""

# What is not ours in the platform's directory stays, and makes rmdir fail, which says what it is.
REMOVE_PLATFORM = """
[ -d "$1" ] && [ ! -L "$1" ] || exit 0
cd "$1"
rm -f current .current-new
# Whoever makes a spare copy holds this lock, and begins none without `current`.
[ ! -d manifests ] || flock -w 120 manifests/.lock-spare true
if [ -d releases ]; then
    cd releases
    for name in * .[a-z]*-*; do
        case $name in
        [0-9]*-* | .staging-[0-9]* | .linking-[0-9]* | .trash-[0-9]* | .spare-[0-9]* | .making-[0-9]*)
            if [ -d "$name" ] && [ ! -L "$name" ]; then rm -rf -- "$name" "../manifests/$name"; fi ;;
        esac
    done
    cd ..
fi
# A spare copy that begins late may open the lock anew, once, before it sees that there is no `current`.
for try in 1 2 3; do
    rm -f manifests/.[a-z]*-*
    [ -d manifests ] && ! rmdir manifests 2>/dev/null || break
done
for name in releases manifests; do [ ! -d "$name" ] || rmdir "$name"; done
cd ..
rmdir "$1"
echo removed
"""
