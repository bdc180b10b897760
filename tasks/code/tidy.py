"""What a node does on its own a little after a switch: a spare copy of the release, and old ones go.

To make a hard-linked copy of a release takes a node longer than everything else when little has changed, and
to remove one takes nearly as long. So neither is part of any flow: a process of the node's own does them when
the flow is over, and none waits for it. Without a spare copy, one is made on the spot.

`releases/.spare-<release>` is the copy, without links to sites; `manifests/.spare-<release>` is the listing
that was recorded of the release when it was verified, entry by entry. The next release takes both (PREPARE)
and is refused (FINISH) when more differs between them than was to differ.

`releases/.trash-<release>` is one that was pruned (PRUNE). Where there is one, the copy is made of it: what
is the same file in both stays, which leaves a node a third of the work.
"""

from __future__ import annotations

from tasks.code.walks import DIGEST, INODES, LISTING, NOT_SITE_LINKS, READ_NOTES

# After that nobody waits for the node any more. What a pruning leaves is looked after a second later.
TIDY_AFTER_SECONDS = 5

# In `releases`: makes of $2, which is another release, as $1 what the release $3 is; $4 and $5 are for lists.
# A file stays where it has the same inode, so that it cannot differ.
_RELINK = rf"""
relink() {{
    mv -T "$2" "$1"
    (cd "$3" && {INODES}) >"$4"
    (cd "$1" && {INODES}) | comm -z -23 - "$4" | sed -z 's/^[^\t]*\t/.\//' >"$5"
    (cd "$1" && xargs -0 -r rm -rf --) <"$5"
    (cd "$1" && {INODES}) | comm -z -13 - "$4" >"$5"
    <"$5" sed -z -n 's/^d\t/.\//p' | (cd "$1" && xargs -0 -r mkdir -p --)
    <"$5" sed -z -n 's/^[0-9]*\t/.\//p' | (cd "$3" && xargs -0 -r cp -al --parents -t "../$1" --)
}}
"""

# $2: release, $3: seconds to wait before. Other spare copies go. One is made at a time, of a release that is
# current then; what a kill leaves of it has another name, and goes the next time. Last goes what was pruned.
TIDY = f"""
umask 022
{_RELINK}
cd "$1/releases"
sleep "$3"
exec 9>../manifests/.lock-spare
flock -w 300 9
old=
end() {{
    cd "$1/releases"
    # It is trash again, which a run removes, and says so when it cannot be.
    [ -z "$old" ] || [ ! -d ".making-$2" ] || mv -T ".making-$2" "$old"
    rm -rf .making-[0-9]* ../manifests/.making-[0-9]* .trash-[0-9]*
}}
trap 'end "$@"' EXIT
trap 'exit 1' TERM
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
for name in .trash-[0-9]*; do [ ! -d "$name" ] || old=$name; done
if [ -n "$old" ]; then
    relink ".making-$2" "$old" "$2" "../manifests/.making-$2" "../manifests/.making-$2-new"
else
    cp -al "$2" ".making-$2"
fi
cd ".making-$2"
find . {NOT_SITE_LINKS} -delete
{LISTING} >"../../manifests/.making-$2"
cd "$1/manifests"
{{ {READ_NOTES} }} <"$2"
[ "$(<".making-$2" {DIGEST})" = "$noted  -" ]
mv -T ".making-$2" ".spare-$2"
mv -T "../releases/.making-$2" "../releases/.spare-$2"
"""
