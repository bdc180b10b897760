"""What a node of a pack mounts, and what it sees of a platform through that; read in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.code.facts import platform_directory
from tasks.fleet import HOME, PLATFORMS, SITES, Share
from tasks.ssh import Ssh

# What a slave was last told of, on its own disk: on the share it would be one note for all of them.
NOTES = f"{HOME}/followed"
# A mount that does not answer is given up, by the shell there and by us here.
ANSWER_SECONDS = 20.0

# Opening a directory makes an NFS client ask the server whether it has changed (close-to-open consistency,
# nfs(5)); its cached answer may be 60 s old otherwise. From the mount downwards, for each name on the way may
# be cached. `true` and not `:`, for a special builtin would end the shell when there is no such directory.
LOOK_ANEW = """
look_anew() {
    for each in "${1%/*}" "$1" "$1/releases" "$1/manifests"; do true 2>/dev/null <"$each" || true; done
}
"""

# One link is told from the next by inode and time of change, so that going back and forth is seen, too.
IDENTIFY = """
identify() { find "$1/current" -maxdepth 0 -type l -printf '%l %i %C@' 2>/dev/null || true; }
"""

# $1, $2: what the nodes mount; $3, $4: the same on the server; $5: a platform's directory, or empty; $6: the
# note about it. Reading the mount table never blocks. A mount that systemd makes on its first use is used.
_READ = f"""
{LOOK_ANEW}
{IDENTIFY}
for path in "$1" "$2"; do
    if grep -q " $path .* - autofs " /proc/self/mountinfo; then ls -d "$path/." >/dev/null 2>&1 || true; fi
done
sed 's/^/mount /' /proc/self/mountinfo
for number in 1 2; do
    if [ "$3" != - ] && [ "$1" -ef "$3" ]; then echo "same $1"; fi
    set -- "$2" "$1" "$4" "$3" "$5" "$6"
done
[ -n "$5" ] || exit 0
look_anew "$5"
printf 'current %s\\n' "$(identify "$5")"
printf 'told %s\\n' "$(cat -- "$6" 2>/dev/null || true)"
"""


@dataclass(frozen=True, slots=True)
class Mount:
    """What is mounted at a path: where from, which kind of file system, and whether it can be written to."""

    source: str
    kind: str
    writable: bool


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """A node of a pack. `own` are the paths that are the share's own directories, on its server.

    `link` identifies the link `current` that it sees (empty: none), `told` the one that its php-fpm was told
    of last.
    """

    mounts: Mapping[str, Mount] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    link: str = ""
    told: str = ""

    @property
    def current(self) -> str:
        """The release that it sees as the current one, or nothing."""
        return self.link.partition(" ")[0].removeprefix("releases/")


def parse_member_facts(printed: str) -> MemberFacts:
    """Read what the script printed; of several mounts at one path the last one counts."""
    mounts: dict[str, Mount] = {}
    own: set[str] = set()
    words: dict[str, str] = {}
    for line in printed.splitlines():
        word, _, rest = line.partition(" ")
        if word == "mount":
            head, _, tail = rest.partition(" - ")
            path, options = head.split(" ")[4:6]
            kind, source, others = tail.split(" ", 2)
            writable = "rw" in options.split(",") and "rw" in others.split(",")
            if path in {PLATFORMS, SITES}:
                mounts[path] = Mount(source, kind, writable)
        elif word == "same":
            own.add(rest)
        else:
            words[word] = rest
    return MemberFacts(mounts, frozenset(own), words.get("current", ""), words.get("told", ""))


def read_member_facts(ssh: Ssh, share: Share, platform: str = "") -> MemberFacts:
    """Return what the node mounts and, of `platform`, what it sees; Unreachable when a mount hangs."""
    there = (share.code_path, share.data_path) if ssh.node.endpoint == share.server.endpoint else ("-", "-")
    names = (platform_directory(platform), note_path(platform)) if platform else ("", "")
    result = ssh.run_script(
        _READ, PLATFORMS, SITES, *there, *names, timeout=ANSWER_SECONDS, meaning="cannot read the mounts"
    )
    return parse_member_facts(result.text)


def note_path(platform: str) -> str:
    """Where a slave keeps what its php-fpm was last told of the platform."""
    return f"{NOTES}/{platform_directory(platform).rpartition('/')[2]}"
