"""Give a node what a site needs. Every step may be run again at any time."""

from __future__ import annotations

from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.fleet import SITES, WEB_GROUP
from tasks.names import check_host_name
from tasks.sites.backup import VerifiedBackup
from tasks.sites.plan import WEB_USER, Site, data_directories, link_path, render_settings
from tasks.sites.profiles import Profile
from tasks.ssh import Ssh

REMOVE_SECONDS = 600

_MAKE_DIRECTORY = """
path=$1 group=$2 mode=$3
# -L first: a link would be followed, and what it leads to changed.
if [ -L "$path" ]; then echo "$path is a link" >&2; exit 3; fi
before=$(stat -c '%U:%G %a' -- "$path" 2>/dev/null || :)
[ -d "$path" ] || mkdir -- "$path"
chgrp -- "$group" "$path"
chmod -- "$mode" "$path"
[ "$before" = "$(stat -c '%U:%G %a' -- "$path")" ] || echo changed
"""

# Looked at before anything is written, so that a run with nothing to do needs no space and leaves no trace.
_WRITE_SETTINGS = """
path=$1 group=$2
umask 0077
content=$(cat; echo .)
content=${content%.}
if printf %s "$content" | cmp -s -- - "$path" &&
    [ "$(stat -c '%U:%G %a' -- "$path")" = "$(id -un):$group 440" ]; then exit 0; fi
# What a run that was killed has left here would be read-only.
rm -f -- "$path.new"
printf %s "$content" >"$path.new"
chgrp -- "$group" "$path.new"
chmod -- 0440 "$path.new"
mv -T -- "$path.new" "$path"
echo changed
"""

_LINK = """
link=$1 target=$2
if [ -L "$link" ] && [ "$(readlink -- "$link")" = "$target" ]; then exit 0; fi
if [ -e "$link" ] && [ ! -L "$link" ]; then echo "$link is part of the code" >&2; exit 3; fi
mkdir -p -- "${link%/*}"
ln -sfn -- "$target" "$link.packmaster"
mv -T -- "$link.packmaster" "$link"
echo changed
"""

_UNLINK = """
link=$1 target=$2
if [ -L "$link" ] && [ "$(readlink -- "$link")" = "$target" ]; then rm -- "$link"; echo changed; fi
"""

# As the web user what PHP made, then as ourselves the rest; -xdev: nothing that is mounted in there.
_REMOVE = """
path=$1 web_user=$2
if [ -L "$path" ]; then echo "$path is a link" >&2; exit 3; fi
[ -d "$path" ] || exit 0
sudo -n -u "$web_user" -- find "$path" -xdev -mindepth 2 -depth -delete 2>/dev/null || :
find "$path" -xdev -depth -delete
echo changed
"""


def create_data(ssh: Ssh, site: Site, profile: Profile) -> bool:
    """The site's data directories exist with their owners and modes; True when anything had to change.

    Nothing that is inside them is touched.
    """
    changed = False
    for path, mode in data_directories(site, profile):
        result = ssh.run_script(
            _MAKE_DIRECTORY, path, WEB_GROUP, mode, meaning=f"cannot make a data directory of {site.uri}"
        )
        changed |= result.text.strip() == "changed"
    return changed


def write_settings(ssh: Ssh, site: Site, profile: Profile, seed: SecretStr) -> bool:
    """The settings file is what the profile and `seed` make it, readable by PHP and writable by nobody."""
    if not profile.settings:
        return False
    result = ssh.run_script(
        _WRITE_SETTINGS,
        site.settings_path,
        WEB_GROUP,
        stdin=render_settings(profile, seed).encode(),
        meaning=f"cannot write the settings of {site.uri}",
    )
    return result.text.strip() == "changed"


def link_site(ssh: Ssh, site: Site, profile: Profile, *, tree: str | None = None) -> bool:
    """The release `tree` (by default the current one) leads to the site's data, if the profile wants it."""
    link = link_path(site, profile, tree)
    if link is None:
        return False
    result = ssh.run_script(_LINK, link, site.directory, meaning=f"cannot link {site.uri} into the code")
    return result.text.strip() == "changed"


def unlink_site(ssh: Ssh, site: Site, profile: Profile, *, tree: str | None = None) -> bool:
    """The link to the site's data is gone from the release; the data is not touched."""
    link = link_path(site, profile, tree)
    if link is None:
        return False
    return ssh.run_script(_UNLINK, link, site.directory).text.strip() == "changed"


def remove_site_data(ssh: Ssh, uri: str, backup: VerifiedBackup) -> bool:
    """The data directory of `uri` is gone from the node; False when it was gone already.

    `backup` can only be had by verifying one: raises PlanRefused when it is of another site, or holds nothing
    from this node.
    """
    check_host_name(uri)
    if backup.uri != uri or ssh.node.name not in backup.nodes:
        raise PlanRefused(
            f"the data of {uri} on {ssh.node.name} is not in the verified backup {backup.directory}",
            "Back it up first; nothing was removed",
        )
    result = ssh.run_script(
        _REMOVE,
        f"{SITES}/{uri}",
        WEB_USER,
        timeout=REMOVE_SECONDS,
        meaning=f"cannot remove the data of {uri}",
    )
    return result.text.strip() == "changed"
