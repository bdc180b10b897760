"""Another configuration on real apache and nginx: tested, switched to, taken back; what a broken one does."""

import threading
import time
from dataclasses import replace

import pytest

from tasks.errors import CommandFailed, PackmasterError, PlanRefused
from tasks.ssh import Ssh
from tasks.web import apply, check, install
from tasks.web.check import SiteCheck, read_loaded_generation
from tests.nodes.vhosts import LIVE, SITE, VHOST, Server, environment, prepared, server

__all__ = ["prepared", "server"]


@pytest.mark.parametrize("where", ["enabled", "live"])
def test_vhost_that_does_not_parse(server: Server, where: str) -> None:
    before = server.facts()
    directory = server.enabled if where == "enabled" else LIVE
    server.docker('echo "Nonsense here {" >"$1/by-hand.conf"; chmod 644 "$1/by-hand.conf"', directory)
    changed = replace(VHOST, aliases=("new.web.example.org",))
    with pytest.raises(CommandFailed) as failed:
        install.install_config(server.node, server.plan(changed))
    assert "by-hand.conf" in str(failed.value)
    assert "the live one was not touched" in str(failed.value)
    if where == "live":
        assert f"{LIVE}/by-hand.conf was put there" in str(failed.value)
    after = server.facts()
    assert (after.live, after.loaded) == (before.live, before.live)
    assert environment(server, "/")["DOLLAR"] == "$"
    assert server.get("/", "new.web.example.org").is_catch_all
    server.docker('rm "$1/by-hand.conf"', directory)
    server.install(changed)
    assert server.get("/", "new.web.example.org").status == 200


def test_unknown_file_is_kept_and_reported(server: Server) -> None:
    server.docker('echo "# mine" >"$1/by-hand of mine.conf"; chmod 644 "$1/by-hand of mine.conf"', LIVE)
    server.install(VHOST)
    plan = server.plan(VHOST)
    assert not plan
    assert [(step.action, step.name) for step in plan.drift] == [("unknown", "by-hand of mine.conf")]
    assert server.docker('cat "$1/by-hand of mine.conf"', LIVE) == "# mine\n"


def test_altered_vhost_is_repaired(server: Server) -> None:
    server.docker('echo "# altered" >>"$1"', f"{LIVE}/{SITE}.conf")
    plan = server.plan(VHOST)
    assert [(step.action, step.name) for step in plan.drift] == [("repair", f"{SITE}.conf")]
    assert server.install(VHOST).changed
    assert "# altered" not in server.docker('cat "$1"', f"{LIVE}/{SITE}.conf")
    server.docker('rm "$1"', f"{LIVE}/{SITE}.conf")
    assert server.install(VHOST).changed
    assert environment(server, "/")


def test_killed_between_swap_and_reload(server: Server) -> None:
    old = server.facts().live
    changed = replace(VHOST, aliases=("new.web.example.org",))
    plan = server.plan(changed)
    apply.stage_generation(server.ssh, plan)
    apply.test_staged(server.ssh, plan)
    assert server.facts().live == old
    apply.switch_generation(server.ssh, plan.generation)
    killed = server.facts()
    assert (killed.live, killed.loaded) == (plan.generation, old)
    assert server.plan(changed).last_good == old
    outcome = server.install(changed)
    assert outcome.changed
    assert server.get("/", "new.web.example.org").status == 200


def test_killed_while_staging(server: Server) -> None:
    changed = replace(VHOST, aliases=("new.web.example.org",))
    plan = server.plan(changed)
    generations = "/var/aegir/config/generations"
    server.docker(
        'mkdir -p "$1/.new" "$1/$2"; echo half >"$1/.new/x.conf"; chown -R aegir: "$1/.new" "$1/$2"',
        generations,
        plan.generation,
    )
    server.install(changed)
    assert server.get("/", "new.web.example.org").status == 200
    assert ".new" not in server.docker('ls -A "$1"', generations).split()


def test_last_good_is_back_when_a_site_is_not_healthy(server: Server) -> None:
    before = server.facts().live
    changed = replace(VHOST, aliases=("new.web.example.org",), environment=())
    checks = [SiteCheck(SITE, contains="nowhere to be found")]
    with pytest.raises(install.InstallFailed) as failed:
        install.install_config(server.node, server.plan(changed), checks)
    assert f"http://{SITE}/ on {server.node.name}: answered 200 without 'nowhere" in str(failed.value)
    assert f"the configuration {before} is back" in str(failed.value)
    after = server.facts()
    assert (after.live, after.loaded) == (before, before)
    assert environment(server, "/")["DOLLAR"] == "$"


def test_reload_that_fails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    before = server.facts().live
    changed = replace(VHOST, aliases=("new.web.example.org",))
    plan = server.plan(changed)
    switch = apply.switch_generation

    def switch_and_break(ssh: Ssh, generation: str) -> None:
        switch(ssh, generation)
        # Somebody breaks the configuration in the moment between the test and the reload.
        broken = "Nonsense here {" if generation == plan.generation else "# mended"
        server.docker('echo "$2" >"$1/by-hand.conf"', server.enabled, broken)

    monkeypatch.setattr(install, "switch_generation", switch_and_break)
    with pytest.raises(install.InstallFailed) as failed:
        install.install_config(server.node, plan)
    assert "by-hand.conf" in str(failed.value)
    assert "cannot be reloaded" in str(failed.value)
    assert f"the configuration {before} is back" in str(failed.value)
    after = server.facts()
    assert (after.live, after.loaded) == (before, before)
    assert environment(server, "/")["DOLLAR"] == "$"


def test_server_that_does_not_run_is_started(server: Server) -> None:
    service = apply.SERVICES[server.node.kind]
    server.docker('service "$1" stop', service)
    stopped = server.plan(VHOST)
    assert stopped
    assert stopped.loaded is None
    assert server.install(VHOST).changed
    assert environment(server, "/")


def test_nothing_is_missed_while_it_reloads(server: Server) -> None:
    """Visitors see no error while configurations are switched."""
    failures: list[str] = []
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            try:
                check.check_site(server.node, SITE, "/s.txt", contains="static")
            except PackmasterError as failure:
                failures.append(str(failure))
            time.sleep(0.01)

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        for number in range(3):
            changed = replace(VHOST, environment=(("ROUND", str(number)),))
            install.install_config(server.node, server.plan(changed))
    finally:
        over.set()
        visitor.join(30)
    assert failures == []


def test_old_generations_go(server: Server) -> None:
    for number in range(6):
        install.install_config(
            server.node, server.plan(replace(VHOST, environment=(("ROUND", str(number)),)))
        )
    facts = server.facts()
    assert len(facts.generations) <= 5
    assert facts.live in facts.generations
    assert read_loaded_generation(server.node) == facts.live


def test_refused_before_anything_is_touched(server: Server) -> None:
    before = server.facts()
    with pytest.raises(PlanRefused):
        server.plan(replace(VHOST, aliases=("a.org; evil",)))
    assert server.facts() == before
