"""What is configured on one host, as `tasks.web.facts` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of the live generation. `recorded` is the digest it was installed with.

    `recorded` is None for a file put there by hand, `site` is None for a file that is not one of ours.
    """

    name: str
    digest: str
    recorded: str | None = None
    site: str | None = None
    platform: str = ""
    names: tuple[str, ...] = ()

    @property
    def altered(self) -> bool:
        return self.digest != self.recorded


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What is configured on one host.

    `live` is the generation that the server would load, `loaded` the one it answers with (None: it does not
    answer, or with something else). `generations` are on its disk, newest first. `ipv6` says that its kernel
    lets a server listen on IPv6.
    """

    host: str
    live: str | None = None
    loaded: str | None = None
    files: Mapping[str, ConfigFile] = field(default_factory=dict)
    generations: tuple[str, ...] = ()
    ipv6: bool = False

    def sites_of(self, platform: str) -> tuple[str, ...]:
        """The sites that this host serves from a platform."""
        return tuple(
            sorted(f.site for f in self.files.values() if f.site is not None and f.platform == platform)
        )
