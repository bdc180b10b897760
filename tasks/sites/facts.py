"""What a node has of a site."""

from __future__ import annotations

import hashlib
import re

from pydantic import SecretStr

from tasks.sites.plan import PathFacts, Site, SiteFacts, data_directories, link_path
from tasks.sites.profiles import Profile
from tasks.ssh import Ssh

_SEED = re.compile(r"'PACKMASTER_SEED', '([0-9a-f]{64})'")

_READ = """
settings=$1 link=$2
shift 2
for path in "$@" "$settings"; do
    if [ -e "$path" ] || [ -L "$path" ]; then stat -c '%F|%U:%G|%a|%n' -- "$path"; fi
done
if [ -L "$link" ]; then printf 'link|%s\\n' "$(readlink -- "$link")"
elif [ -e "$link" ]; then printf 'link|\\n'
fi
printf '\\n'
if [ -f "$settings" ]; then cat -- "$settings"; fi
# What a command prints to its standard error is what gets logged of it, instead of its output.
echo 'settings are not shown' >&2
"""


def parse_site_facts(printed: str) -> SiteFacts:
    """Return the facts in what the reading script printed: a line a path, an empty line, the settings."""
    head, _, settings = printed.partition("\n\n")
    paths: dict[str, PathFacts] = {}
    link: str | None = None
    for line in head.strip().splitlines():
        kind, _, rest = line.partition("|")
        if kind == "link":
            link = rest
            continue
        owners, mode, path = rest.split("|", 2)
        paths[path] = PathFacts(kind, owners, mode)
    seed = _SEED.search(settings)
    return SiteFacts(
        paths=paths,
        settings_digest=hashlib.sha256(settings.encode()).hexdigest() if settings else None,
        seed=SecretStr(seed[1]) if seed else None,
        link=link,
    )


def read_site_facts(ssh: Ssh, site: Site, profile: Profile, *, tree: str | None = None) -> SiteFacts:
    """Return what the node has of `site`; `tree` is the release whose link is looked at."""
    directories = [path for path, _ in data_directories(site, profile)]
    link = link_path(site, profile, tree) or ""
    result = ssh.run_script(_READ, site.settings_path, link, *directories, meaning=f"cannot read {site.uri}")
    return parse_site_facts(result.text)
