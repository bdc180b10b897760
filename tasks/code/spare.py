"""A spare copy of the current release on a node, which the next one is made of.

To make a hard-linked copy of a release takes a node longer than everything else when little has changed. So
it is made beforehand: a process of the node's own begins a little after each switch, when the flow is over.
It is no part of any flow and none waits for it; without one, a copy is made on the spot.

`releases/.spare-<release>` is the copy, without links to sites; `manifests/.spare-<release>` is the listing
that was recorded of the release when it was verified, entry by entry. The next release takes both (PREPARE)
and is refused (FINISH) when more differs between them than was to differ.
"""

from __future__ import annotations

from tasks.code.walks import DIGEST, LISTING, NOT_SITE_LINKS, READ_NOTES

# After that nobody waits for the node any more.
SPARE_AFTER_SECONDS = 5

# $2: release, $3: seconds to wait before. Other spare copies go. One is made at a time, of a release that is
# current then; what a kill leaves of it has another name, and goes the next time.
MAKE_SPARE = f"""
umask 022
cd "$1/releases"
sleep "$3"
exec 9>../manifests/.lock-spare
flock -w 300 9
[ "$(readlink ../current)" = "releases/$2" ] || exit 0
ready=
for name in .spare-[0-9]* .making-[0-9]*; do
    if [ "$name" = ".spare-$2" ] && [ -f "../manifests/$name" ]; then ready=yes; continue; fi
    rm -rf "$name" "../manifests/$name"
done
for file in ../manifests/.spare-[0-9]*; do [ -d "${{file##*/}}" ] || rm -f "$file"; done
for file in ../manifests/.lines-[0-9]*; do
    name=${{file##*/.lines-}}
    [ -d ".staging-$name" ] || [ -d ".linking-$name" ] || rm -f "$file"
done
[ -z "$ready" ] || exit 0
trap 'cd "$1/releases" && rm -rf ".making-$2" "../manifests/.making-$2"' EXIT
trap 'exit 1' TERM
cp -al "$2" ".making-$2"
cd ".making-$2"
find . {NOT_SITE_LINKS} -delete
{LISTING} >"../../manifests/.making-$2"
cd "$1/manifests"
{{ {READ_NOTES} }} <"$2"
[ "$(<".making-$2" {DIGEST})" = "$noted  -" ]
mv -T ".making-$2" ".spare-$2"
mv -T "../releases/.making-$2" "../releases/.spare-$2"
"""
