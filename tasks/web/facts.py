"""The web server configuration of one host as it is: what is live, what is loaded, what is on its disk."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tasks.errors import PackmasterError
from tasks.fleet import CONFIG
from tasks.ssh import Ssh
from tasks.web.check import read_loaded_generation
from tasks.web.render import DEFAULT_FILE, HEADER, file_name
from tasks.web.state import ConfigFile, ServerConfig

PROBE_SECONDS = 5.0

# Names may hold anything but NUL, so NUL is what separates. Only headers are read: the rest has credentials.
_READ = r"""
config=$1
export LC_ALL=C
# A kernel that was started without IPv6 has no such file. Where it was only switched off for the interfaces
# there is one, and whoever listens is reached as soon as it is switched on.
if [ -e /proc/net/if_inet6 ]; then printf 'ipv6\0'; fi
cd "$config" 2>/dev/null || exit 0
printf 'live\0%s\0' "$(basename "$(readlink live || true)")"
for name in $(ls -1t generations 2>/dev/null | grep -E '^[A-Za-z0-9][A-Za-z0-9._-]*$' || true); do
    printf 'generation\0%s\0' "$name"
done
cd live/ 2>/dev/null || exit 0
if [ -f manifest ]; then
    while read -r digest name; do printf 'recorded\0%s  %s\0' "$digest" "$name"; done <manifest
fi
find . -maxdepth 1 -name '*.conf' ! -type d -print0 | sed -z 's/^/file\x00/'
find . -maxdepth 1 -name '*.conf' ! -type d -exec sha256sum --zero -- {} + |
    sed -z 's/^/digest\x00/'
find . -maxdepth 1 -name '*.conf' ! -type d -exec grep -aZH '^# packmaster {' -- {} + |
    sed 's/^/header\x00/' | tr '\n' '\0'
"""


def parse_web_facts(host: str, out: bytes, loaded: str | None = None) -> ServerConfig:
    """Return what the script printed as a ServerConfig; raises PackmasterError for what it never prints."""
    fields = out.split(b"\0")
    live: str | None = None
    generations: list[str] = []
    recorded: dict[str, str] = {}
    digests: dict[str, str] = {}
    headers: dict[str, list[str]] = {}
    present: list[str] = []
    ipv6 = False
    words = iter(field.decode("utf-8", "surrogateescape") for field in fields[:-1])
    for word in words:
        if word == "ipv6":
            ipv6 = True
        elif word == "live":
            live = next(words) or None
        elif word == "generation":
            generations.append(next(words))
        elif word == "file":
            present.append(next(words).removeprefix("./"))
        elif word in {"recorded", "digest"}:
            digest, _, name = next(words).partition("  ")
            (recorded if word == "recorded" else digests)[name.removeprefix("./")] = digest
        elif word == "header":
            name = next(words).removeprefix("./")
            headers.setdefault(name, []).append(next(words))
        else:
            raise PackmasterError(f"{host}: unreadable facts about its configuration: {word[:100]!r}")
    for name in present:
        if name not in digests:
            raise PackmasterError(
                f"{host}: {CONFIG}/live/{name} cannot be read by the platform user: "
                "give it to that user, or take it away"
            )
    files = (_parse_file(name, digests[name], recorded.get(name), headers.get(name, [])) for name in present)
    return ServerConfig(host, live, loaded, _by_name(files), tuple(generations), ipv6)


def read_web_facts(ssh: Ssh) -> ServerConfig:
    """Return the configuration of the node behind `ssh`, over SSH, and what it has loaded, over HTTP.

    Raises CommandFailed when a file of the live configuration cannot be read.
    """
    result = ssh.run_script(
        _READ, CONFIG, meaning="the live web server configuration cannot be read as the platform user"
    )
    return parse_web_facts(ssh.node.name, result.out, read_loaded_generation(ssh.node, PROBE_SECONDS))


def _parse_file(name: str, digest: str, recorded: str | None, header: Iterable[str]) -> ConfigFile:
    try:
        facts = [json.loads(line.removeprefix(HEADER)) for line in header]
        site, platform = (facts[0]["site"], facts[0]["platform"]) if facts else (None, "")
        names = [each for line in facts for each in line["names"]]
    except (ValueError, LookupError, TypeError):
        return ConfigFile(name, digest, recorded)
    # A copy under another name has the header of the original, and is not ours.
    if name != DEFAULT_FILE and (not isinstance(site, str) or name != file_name(site)):
        return ConfigFile(name, digest, recorded)
    return ConfigFile(name, digest, recorded, site, str(platform), tuple(str(each) for each in names))


def _by_name(files: Iterable[ConfigFile]) -> dict[str, ConfigFile]:
    return {file.name: file for file in sorted(files, key=lambda file: file.name)}
