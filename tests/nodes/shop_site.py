"""A small PHP site on all four nodes, the source of its next release, and what happens while a flow runs."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks import WebServer
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from tests.nodes.fleet import Fleet, change_nothing, saved, succeed, wait_on
from tests.nodes.prepared import prepared

PAGE = "<?php if (file_exists($_SERVER['PACKMASTER_DATA'] . '/files/slow')) {{ sleep(2); }} echo '{}';"


@dataclass
class Shop:
    """A small PHP site on all four nodes, and the source of its next release."""

    fleet: Fleet
    name: str
    uri: str
    source: Path
    shown: str = "release 0"
    number: int = 0

    @property
    def here(self) -> str:
        """Where the platform is on a node."""
        return f"/var/aegir/platforms/{self.name}"

    @property
    def wanted(self) -> dict[str, Any]:
        return {"platform": self.fleet.platform(self.name)}

    def write(self, megabytes: int = 0) -> str:
        """Make the next release of the source; returns what its page says."""
        self.number += 1
        text = f"release {self.number}"
        (self.source / "index.php").write_text(PAGE.format(text))
        shutil.rmtree(self.source / "big", ignore_errors=True)
        for number in range(megabytes):
            (self.source / "big").mkdir(exist_ok=True)
            (self.source / f"big/{number}").write_bytes(os.urandom(1 << 20))
        return text

    def check(self, *names: str) -> None:
        """These nodes (all by default) serve the release that was last deployed."""
        served = self.fleet.bodies(self.uri, names=names)
        assert set(served) == {self.shown}

    def converge(self, text: str) -> None:
        """Deploying works now, is seen everywhere, and a second run has nothing to do."""
        succeed(deploy_platform, **self.wanted)
        self.shown = text
        self.check()
        change_nothing(deploy_platform, **self.wanted)
        # A node makes its spare copy, and removes what was pruned, whenever it gets to it: no left-overs.
        leftovers = f"ls -A {self.here}/releases | grep -v -E '^([0-9]|[.](spare|making|trash)-)'"
        assert [self.fleet.execute(n, "sh", "-c", leftovers, check=False) for n in self.fleet.names] == [
            ""
        ] * 4

    def current(self) -> set[str]:
        return {self.fleet.current(name, self.name) for name in self.fleet.names}


def open_shop(fleet: Fleet, bed: Any, source: Path, name: str, uri: str) -> Shop:
    """A platform and its site, which stay: each module gives them names of its own."""
    prepared(bed)
    shop = Shop(fleet, name, uri, source)
    shop.shown = shop.write()
    succeed(create_platform, platform=name, target=fleet.cluster, source=str(source), profile="php")
    succeed(add_site, uri=uri, platform=fleet.platform(name), database=fleet.database)
    shop.check()
    return shop


@contextmanager
def at_the_same_time(action: Callable[[], None]) -> Iterator[None]:
    """Something happens while the flow in the block is running."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(60)
    if failures:
        raise failures[0]


def register_again(fleet: Fleet, server: str, name: str, **wrong: Any) -> None:
    """A server of the bed is registered under one more name, with something wrong about it."""
    node = fleet.node(server)
    fields = {"address": node.address, "kind": node.kind, "host_keys": list(node.host_keys)}
    saved(WebServer(**fields | {"credentials": fleet.credentials} | wrong), name)


@contextmanager
def slow_site(shop: Shop) -> Iterator[None]:
    """The site answers after two seconds, which is how long the fleet is staged and not yet switched."""
    slow = f"/var/aegir/sites/{shop.uri}/files/slow"
    for name in shop.fleet.names:
        shop.fleet.execute(name, "touch", slow)
    try:
        yield
    finally:
        for name in shop.fleet.names:
            shop.fleet.execute(name, "rm", "-f", slow)


def staged(shop: Shop) -> None:
    """Return when every node has a release that is newer than the current one."""
    newest = f"[ $(ls {shop.here}/manifests | tail -1) != $(basename $(readlink {shop.here}/current)) ]"
    for name in shop.fleet.names:
        wait_on(shop.fleet, name, newest)
