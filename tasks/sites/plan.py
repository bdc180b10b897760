"""What a site needs on its nodes: data directories, settings, the link from the code to the data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.fleet import PLATFORM_USER, PLATFORMS, SITES, WEB_GROUP
from tasks.names import check_docroot, check_host_name, check_slug
from tasks.sites.profiles import Profile

# setgid, so that what PHP and what the platform user write stays in the web group; nothing for others.
SITE_MODE, DATA_MODE = "2750", "2770"
# In a directory that PHP cannot write, so that PHP cannot replace it either.
SETTINGS_MODE = "440"
WEB_USER = "www-data"
OWNERS = f"{PLATFORM_USER}:{WEB_GROUP}"
_SEED_LENGTH = 64

SiteStepKind = Literal["create data", "write settings", "link site"]


@dataclass(frozen=True, slots=True)
class Site:
    """A site as it is desired; `docroot` is relative to the release, `title` is for people."""

    uri: str
    platform: str
    docroot: str = ""
    aliases: tuple[str, ...] = ()
    redirects: tuple[str, ...] = ()
    title: str = ""
    admin_user: str = "admin"
    admin_email: str = ""
    enabled: bool = True

    def __post_init__(self) -> None:
        """Every path of a site is made of these, so that none can lead elsewhere."""
        check_host_name(self.uri)
        check_slug(self.platform, "platform")
        object.__setattr__(self, "docroot", check_docroot(self.docroot))

    @property
    def directory(self) -> str:
        return f"{SITES}/{self.uri}"

    @property
    def settings_path(self) -> str:
        return f"{self.directory}/settings.php"

    def docroot_in(self, tree: str | None = None) -> str:
        """Return the absolute document root in a release directory; by default in the current one."""
        top = tree or f"{PLATFORMS}/{self.platform}/current"
        return f"{top}/{self.docroot}" if self.docroot else top


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a site's PHP reaches its database."""

    host: str
    port: int
    database: str
    user: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class PathFacts:
    """One path as stat(1) has it: `kind` is `directory`, `regular file`…, `owners` is `user:group`."""

    kind: str
    owners: str
    mode: str


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """A site on one node. `link` is where the site's link leads, `""` when what is there is no link."""

    paths: Mapping[str, PathFacts] = field(default_factory=dict)
    settings_digest: str | None = None
    seed: SecretStr | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class SiteStep:
    host: str
    kind: SiteStepKind
    detail: str


@dataclass(frozen=True, slots=True)
class SitePlan:
    """The steps to come for one site, by host; empty when every node has what the site needs."""

    uri: str
    steps: tuple[SiteStep, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        if not self.steps:
            return f"{self.uri}: nothing to do"
        return "\n".join([self.uri, *(f"  {step.host}: {step.kind} ({step.detail})" for step in self.steps)])

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact."""
        return [{"site": self.uri, "host": s.host, "step": s.kind, "detail": s.detail} for s in self.steps]


def data_directories(site: Site, profile: Profile) -> tuple[tuple[str, str], ...]:
    """Return the directories of a site and their modes, parents first."""
    inside = tuple((f"{site.directory}/{name}", DATA_MODE) for name in profile.data)
    return ((site.directory, SITE_MODE), *inside)


def link_path(site: Site, profile: Profile, tree: str | None = None) -> str | None:
    """Return where the code must lead to the site's data, or None for an application that needs no link."""
    if profile.link is None:
        return None
    return f"{site.docroot_in(tree)}/{profile.link.replace('{uri}', site.uri)}"


def render_settings(profile: Profile, seed: SecretStr) -> str:
    """Return the settings file of a site: the profile's, with the site's seed. It holds no password."""
    value = seed.get_secret_value()
    if len(value) != _SEED_LENGTH or set(value) - set("0123456789abcdef"):
        raise PlanRefused("the seed of a settings file is not 64 hexadecimal digits")
    return profile.settings.replace("@SEED@", value)


def choose_seed(facts: Mapping[str, SiteFacts], fresh: SecretStr) -> SecretStr:
    """Return the seed that the nodes have, or `fresh` where none has one; it must never change.

    Raises PlanRefused when nodes disagree: every choice would log out the users of the others.
    """
    seeds = {host: f.seed.get_secret_value() for host, f in sorted(facts.items()) if f.seed is not None}
    if len(set(seeds.values())) > 1:
        raise PlanRefused(
            f"the settings of {', '.join(seeds)} have different seeds",
            "Copy settings.php from the node whose sessions count to the others",
        )
    return SecretStr(next(iter(seeds.values()))) if seeds else fresh


def plan_site(
    site: Site, profile: Profile, facts: Mapping[str, SiteFacts], seed: SecretStr, *, tree: str | None = None
) -> SitePlan:
    """Return the steps that give `site` its data directories, settings and link on every host of `facts`.

    `tree` is the release that the link is for, by default the current one. Raises PlanRefused where something
    that is not ours stands in the way.
    """
    steps: list[SiteStep] = []
    for host, there in sorted(facts.items()):
        for path, mode in data_directories(site, profile):
            has = there.paths.get(path)
            if has is not None and has.kind != "directory":
                raise PlanRefused(f"{host}: {path} is a {has.kind}, not a directory", "Move it away")
            if has != PathFacts("directory", OWNERS, mode):
                steps.append(SiteStep(host, "create data", f"{path} {OWNERS} {mode}"))
        if profile.settings and not _has_settings(site, profile, there, seed):
            steps.append(SiteStep(host, "write settings", f"{site.settings_path} {OWNERS} {SETTINGS_MODE}"))
        link = link_path(site, profile, tree)
        if link is not None and there.link != site.directory:
            if there.link == "":
                raise PlanRefused(f"{host}: {link} is part of the code", f"Take {profile.link} out of it")
            steps.append(SiteStep(host, "link site", f"{link} -> {site.directory}"))
    return SitePlan(site.uri, tuple(steps))


def _has_settings(site: Site, profile: Profile, there: SiteFacts, seed: SecretStr) -> bool:
    digest = hashlib.sha256(render_settings(profile, seed).encode()).hexdigest()
    wanted = PathFacts("regular file", OWNERS, SETTINGS_MODE)
    return there.settings_digest == digest and there.paths.get(site.settings_path) == wanted
