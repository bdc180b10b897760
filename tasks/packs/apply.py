"""What happens on a slave: it looks until it sees what the master did, and its php-fpm is told."""

from __future__ import annotations

from tasks.code.facts import check_release, platform_directory
from tasks.code.scripts import MAKE_LISTING, TELL_PHP
from tasks.errors import Drift
from tasks.outcome import Outcome
from tasks.packs.facts import IDENTIFY, LOOK_ANEW, note_path
from tasks.ssh import Ssh

# Attribute caches live up to 60 s (nfs(5): acdirmax), should a client not look anew when it is made to.
FOLLOW_SECONDS = 90
LOOK_SECONDS = 120.0
NOT_SEEN = 75

# $2: release. Prints what its manifest says about the listing of its files, and what that is here.
_LOOK = f"""
{LOOK_ANEW}
look_anew "$1"
sed -n '/^#: /!q; s/^#: listing //p' "$1/manifests/$2"
{MAKE_LISTING}
"""

# $2: release or empty, $3: seconds, $4: note. Nothing is written to the share. As on the master, php-fpm is
# told even when nobody listens any more. What is noted is the link seen before php-fpm was told.
_FOLLOW = f"""
{LOOK_ANEW}
{IDENTIFY}
{TELL_PHP}
trap '' HUP PIPE
wanted=${{2:+releases/$2}}
ends=$(($(date +%s) + $3)) looks=0
while :; do
    look_anew "$1"
    link=$(identify "$1") looks=$((looks + 1))
    if [ "${{link%% *}}" = "$wanted" ]; then
        if [ -z "$wanted" ] || head -c 1 "$1/manifests/$2" >/dev/null 2>&1; then break; fi
    fi
    if [ "$(date +%s)" -ge "$ends" ]; then
        echo "after $3 s it sees ${{link%% *}} as the current release, not $wanted" >&2
        exit {NOT_SEEN}
    fi
    sleep 0.1
done
tell_php
mkdir -p "${{4%/*}}"
if [ -n "$link" ]; then printf '%s\\n' "$link" >"$4.new"; mv -T "$4.new" "$4"; else rm -f "$4"; fi
echo "$looks"
"""


def look_at_release(ssh: Ssh, platform: str, release: str) -> Outcome:
    """The slave sees every file of a staged release as the master verified it: size, time, owner and mode.

    Raises Drift when it sees something else, CommandFailed when it cannot read the release, Unreachable.
    """
    result = ssh.run_script(
        _LOOK,
        *(platform_directory(platform), check_release(release)),
        timeout=LOOK_SECONDS,
        meaning=f"{release} cannot be read through the share",
    )
    recorded, _, seen = result.text.strip().partition("\n")
    if not recorded or recorded != seen:
        raise Drift(f"{ssh.node.name}: what it sees of {release} through the share is not what was staged")
    return Outcome(ssh.node.name, "look at release", detail=f"{release} is seen whole")


def follow_release(ssh: Ssh, platform: str, release: str | None, seconds: int = FOLLOW_SECONDS) -> Outcome:
    """The slave sees `release` as the current one (None: it sees none), and its php-fpm was told since.

    Waits up to `seconds` until it does. Raises CommandFailed when it does not, Unreachable.
    """
    result = ssh.run_script(
        _FOLLOW,
        *(platform_directory(platform), check_release(release) if release else ""),
        *(str(seconds), note_path(platform)),
        timeout=seconds + 30.0,
        meaning="it does not follow the master",
    )
    seen = f"{release or 'no release'} seen, at look {result.text.strip()}; php-fpm was told"
    return Outcome(ssh.node.name, "follow", changed=True, detail=seen)


def forget_platform(ssh: Ssh, platform: str) -> Outcome:
    """The slave keeps no note about the platform."""
    ssh.run(["rm", "-f", "--", note_path(platform)], meaning="its note cannot be removed")
    return Outcome(ssh.node.name, "forget platform", detail="it keeps no note of it")
