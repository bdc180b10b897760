"""The shell that runs on a node: constant texts, their values come as arguments or on standard input.

In all of them `$1` is the platform's directory. Releases are found by the shape of their names; nothing else
in `releases/` is looked at or touched. Every script can be killed anywhere and run again.
"""

from __future__ import annotations

from tasks.code.walks import AS_STRUCTURE, DIGEST, LISTING, NOT_SITE_LINKS, STRUCTURE
from tasks.scripts import CONTROL

# $2: `none`, `current` or `all`: whose listing is computed again; $3: a content, or empty. With a content,
# the current release is only looked at when that is what it has: another one is looked at when it is copied.
READ_FACTS = f"""
probe=$1
while [ ! -d "$probe" ]; do probe=$(dirname "$probe"); done
[ -w "$probe" ] || echo "readonly $probe"
df -B1 --output=avail,iavail "$probe" | tail -n 1 | sed 's/^/free /'
cd "$1/releases" 2>/dev/null || exit 0
current=$(readlink ../current || true)
if [ -n "$current" ]; then echo "current $current"; fi
for name in * .staging-* .linking-* .trash-*; do
    case $name in
    .staging-[0-9]* | .linking-[0-9]* | .trash-[0-9]*)
        if [ -d "$name" ]; then echo "leftover $name"; fi
        continue
        ;;
    *[!0-9a-f-]* | -*) continue ;;
    esac
    [ -d "$name" ] && [ ! -L "$name" ] || continue
    echo "release $name"
    [ -f "../manifests/$name" ] || continue
    sed -n '/^#: /!q; s/^#: /note /p' "../manifests/$name"
    if [ "$2" = current ] && [ "$current" = "releases/$name" ]; then
        case $(head -n 1 "../manifests/$name") in "#: content $3"*) look=yes ;; *) look= ;; esac
    else
        look=
    fi
    if [ "$2" = all ] || [ -n "$look" ]; then
        printf 'seen %s\\n' "$(cd "$name" && {LISTING} | {DIGEST})"
    fi
done
"""

# $2: release, $3: base or empty. Standard input: paths to take out of the hard-linked copy, NUL-terminated.
# The copy is made under another name first, so that a staging directory is always a complete one. It is the
# spare copy of the base (see spare.py), or it is made now, from a base that nobody changed; else the status
# is 67. manifests/.lines-$2 says what the base was like when it was verified, which FINISH compares.
PREPARE = f"""
umask 022
mkdir -p "$1/releases" "$1/manifests"
cd "$1/releases"
if [ -e "$2" ]; then
    if [ -e "../manifests/$2" ]; then echo "release $2 exists already" >&2; exit 73; fi
    live=$(readlink ../current || true)
    if [ "$live" = "releases/$2" ]; then echo "$2 is live, but has no manifest" >&2; exit 73; fi
    mv -T "$2" ".staging-$2"
fi
[ -n "$3" ] || rm -f "../manifests/.lines-$2" "../manifests/.keys-$2"
if [ -d ".staging-$2" ]; then cat >/dev/null; echo resumed; exit 0; fi
rm -rf ".linking-$2"
rm -f "../manifests/.lines-$2"
if [ -n "$3" ]; then
    noted=$(sed -n '/^#: /!q; s/^#: listing //p' "../manifests/$3")
    exec 9>../manifests/.lock-spare
    if flock -n 9 && [ -d ".spare-$3" ] && [ -f "../manifests/.spare-$3" ] &&
        [ "$(<"../manifests/.spare-$3" {DIGEST})" = "$noted" ]; then
        mv -T "../manifests/.spare-$3" "../manifests/.lines-$2"
        mv -T ".spare-$3" ".linking-$2"
        cd ".linking-$2"
    else
        (cd "$3" && {LISTING}) >"../manifests/.lines-$2"
        [ "$(<"../manifests/.lines-$2" {DIGEST})" = "$noted" ] ||
            {{ cat >/dev/null; echo "$3 was changed"; exit 67; }}
        cp -al "$3" ".linking-$2"
        cd ".linking-$2"
        find . {NOT_SITE_LINKS} -delete
    fi
    xargs -0 -r rm -rf --
    cd ..
else
    mkdir ".linking-$2"
fi
mv -T ".linking-$2" ".staging-$2"
echo prepared
"""

# $2: release, $3: structure, $4: content digest of what was sent, $5: manifest digest. Standard input: a tar
# archive with overlay files, links to sites, manifests/.sent-$2 (NUL-terminated paths) and manifests/.new-$2.
# $6: base or empty, $7: the structure's difference from it. With a base, manifests/.edit-$2 says how the
# manifest is made of the base's, and the release may differ from it only in what is in manifests/.keys-$2;
# else the status is 66. What changed within the same size and time is no difference to see: then the whole
# structure is looked at.
# The release appears last, by one rename: a release that exists has a manifest and was verified.
FINISH = f"""
umask 022
cd "$1"
tar -xzf - --no-same-owner --no-overwrite-dir
cd "releases/.staging-$2"
listing=$1/manifests/.listing-$2 changes=$1/manifests/.changes-$2
lines=$1/manifests/.lines-$2 keys=$1/manifests/.keys-$2
as_structure() {{ {AS_STRUCTURE} | sort -z | {DIGEST}; }}
{LISTING} >"$listing"
wanted=
if [ -f "$lines" ] && [ -f "$keys" ]; then
    comm -z -3 "$lines" "$listing" >"$changes"
    if [ "$(<"$changes" as_structure)" = "$7" ]; then
        wanted=yes
    else
        others=$(<"$changes" sed -z 's/^\\t//; s/^[^\\t]*\\t//' | sort -zu | comm -z -23 - "$keys" | wc -c)
        [ "$others" = 0 ] || {{ echo base; exit 66; }}
    fi
fi
if [ -z "$wanted" ]; then
    seen=$(<"$listing" as_structure)
    if [ "$seen" != "$3" ]; then
        # The rsync of a run that was killed may have saved what it had after this one began.
        find . -name .rsync-partial -prune -exec rm -rf {{}} +
        {LISTING} >"$listing"
        seen=$(<"$listing" as_structure)
    fi
    [ "$seen" = "$3" ] || {{ echo structure; exit 65; }}
fi
seen=$(xargs -0 -r b2sum -z -l 256 -- <"$1/manifests/.sent-$2" | {DIGEST})
[ "$seen" = "$4" ] || {{ echo contents; exit 65; }}
cd "$1/manifests"
[ -z "$6" ] || sed '/^#: /d' "$6" | sed -n -f ".edit-$2" >".new-$2"
seen=$(<".new-$2" {DIGEST})
[ "$seen" = "$5" ] || {{ echo manifest; [ -z "$6" ] || exit 66; exit 65; }}
seen=$(<"$listing" {DIGEST})
{{ printf '#: content %s\\n#: listing %s\\n' "$5" "$seen"; cat ".new-$2"; }} >".done-$2"
mv -T ".done-$2" "$2"
rm -f ".new-$2" ".edit-$2" ".inserted-$2" ".sent-$2" "$lines" "$keys" "$listing" "$changes"
mv -T "$1/releases/.staging-$2" "$1/releases/$2"
"""

# $2: release. Standard input: paths, NUL-terminated. Prints a structure and a content digest.
VERIFY = f"""
cd "$1/releases/$2"
{STRUCTURE}
xargs -0 -r b2sum -z -l 256 -- | {DIGEST}
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
{LISTING} | {DIGEST}
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

# $2: release, or empty to take `current` away. $3, $4: MAKE_SPARE of spare.py, when it begins (it is on its
# own from the start, and no switch fails because of it). Prints what it did.
# PHP is told in the same command, which outlives its connection: a controller that is killed after the switch
# must not leave php-fpm with what it remembers of the old code.
SWITCH = f"""
cd "$1"
trap '' HUP PIPE
{TELL_PHP}
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
setsid -f timeout -k 2 600 nice -n 19 sh -euc "$3" packmaster "$1" "$2" "$4" </dev/null >/dev/null 2>&1 ||
    true
echo switched
"""

# $2…: releases and left-overs to remove. A release is renamed first: half of one is never taken for one.
PRUNE = """
cd "$1/releases"
keep=$(readlink ../current || true)
shift
for name in "$@"; do
    [ "$keep" != "releases/$name" ] || { echo "$name is current" >&2; exit 73; }
    [ -d "$name" ] && [ ! -L "$name" ] || continue
    case $name in
    .*) rm -rf "$name"; rm -f "../manifests/".[a-z]*-"${name#.[a-z]*-}" ;;
    *) mv -T "$name" ".trash-$name"; rm -f "../manifests/$name"; rm -rf ".trash-$name" ;;
    esac
    echo "removed $name"
done
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
