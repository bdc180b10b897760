"""The shell by which a node makes a release: constant texts, for which holds what scripts.py says."""

from __future__ import annotations

from tasks.code.walks import AS_STRUCTURE, DIGEST, LISTING, NOT_SITE_LINKS, READ_NOTES

# $2: release. `base`: what it is made of, or empty; `digest`: its manifest's; `take` writes the paths to take
# out of the hard-linked copy, NUL-terminated. Whether there was a staging directory already is in `copy`.
# A release that is there was made by the attempt before this one, which lost its connection at the very end.
# The copy is made under another name first, so that a staging directory is always a complete one. It is the
# spare copy of the base (see tidy.py), or it is made now, from a base that nobody changed; else the status
# is 67. manifests/.lines-$2 says what the base was like when it was verified, which FINISH compares.
_COPY = f"""
umask 022
[ -d "$1/releases" ] && [ -d "$1/manifests" ] || mkdir -p "$1/releases" "$1/manifests"
cd "$1/releases"
if [ -e "$2" ]; then
    if [ -f "../manifests/$2" ]; then
        {{ {READ_NOTES} }} <"../manifests/$2"
        [ "$content" = "$digest" ] || {{ echo "there is another release $2: run it again" >&2; exit 73; }}
        cat >/dev/null
        echo done
        exit 0
    fi
    live=$(readlink ../current || true)
    if [ "$live" = "releases/$2" ]; then echo "$2 is live, but has no manifest" >&2; exit 73; fi
    mv -T "$2" ".staging-$2"
fi
[ -n "$base" ] || rm -f "../manifests/.lines-$2" "../manifests/.keys-$2"
if [ -d ".staging-$2" ]; then
    take >/dev/null
    copy=resumed
else
    [ ! -e ".linking-$2" ] || rm -rf ".linking-$2"
    [ ! -e "../manifests/.lines-$2" ] || rm -f "../manifests/.lines-$2"
    if [ -n "$base" ]; then
        {{ {READ_NOTES} }} <"../manifests/$base"
        exec 9>../manifests/.lock-spare
        if flock -n 9 && [ -d ".spare-$base" ] && [ -f "../manifests/.spare-$base" ] &&
            [ "$(<"../manifests/.spare-$base" {DIGEST})" = "$noted  -" ]; then
            mv -T "../manifests/.spare-$base" "../manifests/.lines-$2"
            mv -T ".spare-$base" ".linking-$2"
            cd ".linking-$2"
        else
            (cd "$base" && {LISTING}) >"../manifests/.lines-$2"
            [ "$(<"../manifests/.lines-$2" {DIGEST})" = "$noted  -" ] ||
                {{ cat >/dev/null; echo "$base was changed"; exit 67; }}
            cp -al "$base" ".linking-$2"
            cd ".linking-$2"
            find . {NOT_SITE_LINKS} -delete
        fi
        take | xargs -0 -r rm -rf --
        cd ..
        exec 9>&-
    else
        mkdir ".linking-$2"
    fi
    mv -T ".linking-$2" ".staging-$2"
    copy=prepared
fi
"""

# $2: release, $3: base or empty, $4: manifest digest. Standard input: paths to take out.
PREPARE = f"""
base=$3 digest=$4
take() {{ cat; }}
{_COPY}
echo "$copy"
"""

# $2: release, $3: structure, $4: content digest of what was sent, $5: manifest digest. Standard input: a tar
# archive with overlay files, links to sites, manifests/.sent-$2 (NUL-terminated paths) and manifests/.new-$2.
# $6: base or empty, $7: the structure's difference from it. With a base, manifests/.edit-$2 says how the
# manifest is made of the base's, and the release may differ from it only in what is in manifests/.keys-$2;
# else the status is 66. What changed within the same size and time is no difference to see: then the whole
# structure is looked at. Where nothing can have ($3 is empty), no other structure is the right one.
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
    if [ "$(<"$changes" as_structure)" = "$7  -" ]; then
        wanted=yes
    else
        others=$(<"$changes" sed -z 's/^\\t//; s/^[^\\t]*\\t//' | sort -zu | comm -z -23 - "$keys" | wc -c)
        [ "$others" = 0 ] || {{ echo base; exit 66; }}
    fi
elif [ -z "$3" ]; then
    # What was cut off was not made of this base.
    echo base
    exit 66
fi
if [ -z "$wanted" ]; then
    seen=$(<"$listing" as_structure)
    if [ "$seen" != "$3  -" ]; then
        # The rsync of a run that was killed may have saved what it had after this one began.
        find . -name .rsync-partial -prune -exec rm -rf {{}} +
        {LISTING} >"$listing"
        seen=$(<"$listing" as_structure)
    fi
    [ "$seen" = "$3  -" ] || {{ echo structure; exit 65; }}
fi
seen=$(xargs -0 -r b2sum -z -l 256 -- <"$1/manifests/.sent-$2" | {DIGEST})
[ "$seen" = "$4  -" ] || {{ echo contents; exit 65; }}
cd "$1/manifests"
if [ -n "$6" ]; then
    {{ {READ_NOTES} }} <"$6"
    tail -n "+$((notes + 1))" "$6" | sed -n -f ".edit-$2" >".new-$2"
fi
[ "$(<".new-$2" {DIGEST})" = "$5  -" ] || {{ echo manifest; [ -z "$6" ] || exit 66; exit 65; }}
seen=$(<"$listing" {DIGEST})
{{ printf '#: content %s\\n#: listing %s\\n' "$5" "${{seen%% *}}"; cat ".new-$2"; }} >".done-$2"
mv -T ".done-$2" "$2"
rm -f ".new-$2" ".edit-$2" ".inserted-$2" ".sent-$2" "$lines" "$keys" "$listing" "$changes"
mv -T "$1/releases/.staging-$2" "$1/releases/$2"
"""

# Both in one round trip, where all that is sent is in the archive. Arguments are those of FINISH and $8: how
# many bytes of standard input are paths to take out; the archive follows.
STAGE = f"""
base=$6 digest=$5 length=$8
# It reads no more than that (head(1): of a pipe, too), so that tar finds its beginning.
take() {{ head -c "$length"; }}
{_COPY}
{FINISH}
"""
