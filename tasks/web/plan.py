"""Which configuration a host has to have, and how that differs from the one it has.

A generation is one directory with the whole configuration in it, and its name is a digest of it, so the same
desired state always is the same generation. Values in, values out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from tasks.fleet import ServerKind
from tasks.web.render import DEFAULT_FILE, file_name, render_default, render_vhost
from tasks.web.state import ConfigFile, ServerConfig
from tasks.web.vhost import DataMount, Vhost

__all__ = [
    "ConfigFile",
    "DataMount",
    "FileStep",
    "NameConflict",
    "ServerConfig",
    "Vhost",
    "WebPlan",
    "find_name_conflicts",
    "plan_web",
]

KEPT_GENERATIONS = 3
Action = Literal["add", "change", "repair", "remove", "altered", "unknown"]


@dataclass(frozen=True, slots=True)
class NameConflict:
    """A host name that another site on the same host already has."""

    host: str
    name: str
    site: str

    def __str__(self) -> str:
        return f"{self.name} already belongs to {self.site} on {self.host}"


@dataclass(frozen=True, slots=True)
class FileStep:
    """One file that gets different, or one (`altered`, `unknown`) that differs and is left as it is."""

    action: Action
    name: str
    detail: str = ""

    @property
    def is_drift(self) -> bool:
        return self.action in {"repair", "altered", "unknown"}

    def __str__(self) -> str:
        return f"{self.action} {self.name}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class WebPlan:
    """How one host gets from its live configuration to `generation`.

    `contents` are written (secret, for they hold credentials), `kept` are copied from the live generation;
    `digests` say what the result has to be, `recorded` what we know to be ours. `routes` say what each name
    has to answer: a status, or None for anything but the catch-all. `last_good` comes back on failure.
    """

    host: str
    kind: ServerKind
    generation: str
    live: str | None
    loaded: str | None
    last_good: str | None
    steps: tuple[FileStep, ...]
    contents: tuple[tuple[str, SecretStr], ...]
    kept: tuple[str, ...]
    digests: tuple[tuple[str, str], ...]
    recorded: tuple[tuple[str, str], ...]
    routes: tuple[tuple[str, int | None], ...] = ()
    prune: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.generation != self.live or self.generation != self.loaded

    @property
    def drift(self) -> tuple[FileStep, ...]:
        return tuple(step for step in self.steps if step.is_drift)

    def __str__(self) -> str:
        lines = [f"  {step}" for step in self.steps]
        if self.generation != self.live:
            lines.append(f"  switch the configuration from {self.live} to {self.generation}, and reload")
        elif self:
            lines.append(f"  reload: {self.live} is live, but {self.loaded or 'something else'} is loaded")
        else:
            lines.append(f"  nothing to do: {self.live} is live and loaded")
        return "\n".join([f"{self.host} ({self.kind}):", *lines])

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact; never a content."""
        rows = [
            {"host": self.host, "action": step.action, "what": step.name, "detail": step.detail}
            for step in self.steps
        ]
        if self:
            reason = f"live: {self.live}, loaded: {self.loaded or 'something else'}"
            rows.append({"host": self.host, "action": "reload", "what": self.generation, "detail": reason})
        return rows


def find_name_conflicts(on_host: ServerConfig, wanted: Vhost) -> list[NameConflict]:
    """Return every name of `wanted` that another site on this host has, as itself, alias or redirect."""
    taken = {
        name: file.site
        for file in on_host.files.values()
        if file.site is not None and file.site != wanted.site
        for name in file.names
    }
    return [NameConflict(on_host.host, name, taken[name]) for name in wanted.names if name in taken]


def plan_web(desired: Mapping[str, Vhost | None], facts: ServerConfig, kind: ServerKind) -> WebPlan:
    """Return how to make `desired` true on a host: a Vhost is to be there as it is, None is to be gone.

    Files of other sites, and files somebody put there, stay as they are. Raises PlanRefused for a vhost that
    cannot be rendered.
    """
    rendered = {
        file_name(site): render_vhost(vhost, kind, ipv6=facts.ipv6)
        for site, vhost in sorted(desired.items())
        if vhost is not None
    }
    gone = {file_name(site) for site, vhost in desired.items() if vhost is None}
    kept = {
        name: file.digest
        for name, file in facts.files.items()
        if name not in rendered and name not in gone and name != DEFAULT_FILE
    }
    wanted = kept | {name: _digest(content) for name, content in rendered.items()}
    generation = _name_generation(wanted, facts, kind)
    default = render_default(generation, kind, ipv6=facts.ipv6)
    rendered[DEFAULT_FILE] = default
    wanted[DEFAULT_FILE] = _digest(default)
    return WebPlan(
        host=facts.host,
        kind=kind,
        generation=generation,
        live=facts.live,
        loaded=facts.loaded,
        last_good=facts.loaded if facts.loaded in facts.generations else facts.live,
        steps=_compare(wanted, facts, gone),
        contents=tuple((name, SecretStr(content.decode())) for name, content in sorted(rendered.items())),
        kept=tuple(sorted(kept)),
        digests=tuple(sorted(wanted.items())),
        recorded=_record(wanted, rendered.keys(), facts),
        routes=_routes(desired),
        prune=_prunable(generation, facts),
    )


def _name_generation(wanted: Mapping[str, str], facts: ServerConfig, kind: ServerKind) -> str:
    """A digest of all files; a live generation that was altered by hand is no use, so it gets a successor."""
    lines = [kind, *(f"{name} {digest}" for name, digest in sorted(wanted.items()))]
    lines.append(_digest(render_default("", kind, ipv6=facts.ipv6)))
    base = _digest("\n".join(lines).encode())[:12]
    live_base, _, count = (facts.live or "").partition("-r")
    if live_base != base or facts.live is None:
        return base
    expected = {**wanted, DEFAULT_FILE: _digest(render_default(facts.live, kind, ipv6=facts.ipv6))}
    if {name: file.digest for name, file in facts.files.items()} == expected:
        return facts.live
    return f"{base}-r{int(count or 0) + 1}"


def _compare(wanted: Mapping[str, str], facts: ServerConfig, gone: set[str]) -> tuple[FileStep, ...]:
    steps: list[FileStep] = []
    for name in sorted(wanted.keys() | (facts.files.keys() & gone)):
        file, digest = facts.files.get(name), wanted.get(name)
        if name == DEFAULT_FILE:
            if file is not None and file.altered:
                steps.append(FileStep("repair", name, "altered by hand"))
        elif file is None:
            steps.append(FileStep("add", name))
        elif digest is None:
            steps.append(FileStep("remove", name))
        elif digest != file.digest:
            by_hand = "altered by hand" if file.altered else ""
            steps.append(FileStep("repair" if by_hand else "change", name, by_hand))
        elif file.site is None:
            steps.append(FileStep("unknown", name, "put there by hand; it is kept"))
        elif file.altered:
            steps.append(FileStep("altered", name, "by hand; it is kept until its site is verified"))
    return tuple(steps)


def _record(
    wanted: Mapping[str, str], rendered: Collection[str], facts: ServerConfig
) -> tuple[tuple[str, str], ...]:
    """What the next manifest says: a kept file stays as drifted as it is, however often it is copied."""
    digests = {
        name: digest if name in rendered else facts.files[name].recorded for name, digest in wanted.items()
    }
    return tuple(sorted((name, digest) for name, digest in digests.items() if digest is not None))


def _routes(desired: Mapping[str, Vhost | None]) -> tuple[tuple[str, int | None], ...]:
    """What each name has to answer: a status, or None for anything but the catch-all's 404."""
    routes: list[tuple[str, int | None]] = []
    for _, vhost in sorted(desired.items()):
        if vhost is None:
            continue
        served = (vhost.site, *vhost.aliases)
        routes += [(name, None if vhost.enabled else 503) for name in served]
        routes += [(name, 301 if vhost.enabled else 503) for name in vhost.redirects]
    return tuple(routes)


def _prunable(generation: str, facts: ServerConfig) -> tuple[str, ...]:
    """Old generations that nobody needs: neither live, nor loaded, nor among the newest."""
    needed = {generation, facts.live, facts.loaded}
    spare = [name for name in facts.generations if name not in needed]
    return tuple(sorted(spare[KEPT_GENERATIONS - 1 :]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
