"""Sites: their data and settings on every node, their installation, their backup, their removal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from tasks.fleet import PLATFORMS, Database, Node
from tasks.outcome import Outcome
from tasks.sites import apply, backup, facts, install
from tasks.sites.backup import DataPart, DumpPart, VerifiedBackup, open_backup, seal_backup
from tasks.sites.install import new_password, new_seed
from tasks.sites.plan import Credentials, Site, SiteFacts, SitePlan, choose_seed, plan_site
from tasks.sites.profiles import Profile, load_profile, overlay_files, profile_names
from tasks.sites.vhost import vhost_for
from tasks.ssh import connect
from tasks.steps import fact_task, host_task

__all__ = [
    "Credentials",
    "DataPart",
    "DumpPart",
    "Profile",
    "Site",
    "SiteFacts",
    "SitePlan",
    "VerifiedBackup",
    "back_up_data",
    "back_up_database",
    "choose_seed",
    "install_site",
    "link_sites",
    "load_profile",
    "make_sites",
    "new_password",
    "new_seed",
    "overlay_files",
    "plan_site",
    "profile_names",
    "read_sites",
    "remove_data",
    "seal_and_verify_backup",
    "start_backup",
    "unlink_site",
    "vhost_for",
]


@fact_task("read sites", run_name="read sites on {node.name}")
def read_sites(node: Node, sites: Sequence[Site], profile: Profile) -> Mapping[str, SiteFacts]:
    """What the node has of each site is known, by host name."""
    ssh = connect(node)
    return {site.uri: facts.read_site_facts(ssh, site, profile) for site in sites}


@host_task("make sites", run_name="make sites on {node.name}")
def make_sites(
    node: Node, sites: Sequence[Site], profile: Profile, seeds: Mapping[str, SecretStr]
) -> Outcome:
    """The node has each site's data directories, its settings and the link from the code to the data."""
    ssh, changed = connect(node), []
    for site in sites:
        done = {
            "data directories": apply.create_data(ssh, site, profile),
            "settings": apply.write_settings(ssh, site, profile, seeds[site.uri]),
            "link": apply.link_site(ssh, site, profile),
        }
        changed += [f"{site.uri}: {what}" for what, was_changed in done.items() if was_changed]
    return Outcome(node.name, "make sites", bool(changed), ", ".join(changed) or "they are there")


@host_task("link sites", run_name="link sites into {release} on {node.name}")
def link_sites(node: Node, sites: Sequence[Site], profile: Profile, platform: str, release: str) -> Outcome:
    """The release, which may be older than the sites, leads to their data where the profile wants it."""
    ssh, tree = connect(node), f"{PLATFORMS}/{platform}/releases/{release}"
    linked = [site.uri for site in sites if apply.link_site(ssh, site, profile, tree=tree)]
    return Outcome(node.name, "link sites", bool(linked), ", ".join(linked))


@host_task("install site", run_name="install {site.uri} from {node.name}")
def install_site(
    node: Node, site: Site, profile: Profile, credentials: Credentials, admin_password: SecretStr
) -> Outcome:
    """The application is installed, once, whichever node is asked."""
    verdict = install.install_site(connect(node), site, profile, credentials, admin_password)
    detail = {
        "installed": f"{profile.title} installed; its administrator is {site.admin_user}",
        "present": f"{profile.title} was installed already",
        "manual": f"there is no vendor/bin/drush: open http://{site.uri}/core/install.php to install",
        "none": "nothing to install",
    }[verdict]
    return Outcome(node.name, "install site", verdict == "installed", detail)


def start_backup(uri: str, now: datetime, root: str) -> str:
    """Return the directory, on the controller, that a backup of the site made at `now` goes to."""
    return str(open_backup(Path(root), uri, now))


@fact_task("back up database", run_name="back up {name} of {database.name}")
def back_up_database(database: Database, name: str, directory: str) -> DumpPart:
    """The database is dumped into the backup."""
    return backup.back_up_database(database, name, Path(directory))


@fact_task("back up data", run_name="back up {site.uri} on {node.name}")
def back_up_data(node: Node, site: Site, directory: str) -> DataPart:
    """The node's data of the site is in the backup."""
    return backup.back_up_data(connect(node), site, Path(directory))


def seal_and_verify_backup(
    directory: str, uri: str, dump: DumpPart | None, data: tuple[DataPart, ...]
) -> VerifiedBackup:
    """Describe the backup, read it back whole, and return the proof that removing asks for."""
    seal_backup(Path(directory), uri, dump, data)
    return backup.verify_backup(Path(directory), uri)


@host_task("unlink site", run_name="unlink {site.uri} on {node.name}")
def unlink_site(node: Node, site: Site, profile: Profile, tree: str | None = None) -> Outcome:
    """The code no longer leads to the site's data."""
    return Outcome(node.name, "unlink site", apply.unlink_site(connect(node), site, profile, tree=tree))


@host_task("remove data", run_name="remove {uri} from {node.name}")
def remove_data(node: Node, uri: str, proof: VerifiedBackup) -> Outcome:
    """The site's data is gone from the node; it is in the verified backup."""
    changed = apply.remove_site_data(connect(node), uri, proof)
    return Outcome(node.name, "remove data", changed, f"kept in {proof.directory}")
