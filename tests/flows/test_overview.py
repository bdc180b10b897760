"""The overview from what runs really published, on a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ArtifactCollection
from pydantic import SecretStr

from blocks import Cluster, NfsServer, Pack, Platform, Share, SshCredentials, WebServer
from flows import overview
from flows.overview import read_tables, refresh_overview, view_pack
from flows.publish import artifact_key, conclude, publish_outcomes, publish_table
from tasks.liveness import Watch
from tasks.liveness.history import Row
from tasks.liveness.values import Verdict
from tasks.outcome import Outcome, Outcomes
from tasks.replication import Standing, State
from tasks.replication.values import SyncProof

NAMES = ("ovw-web1", "ovw-web2")


@pytest.fixture(scope="module")
def pack(prefect_server: str) -> Pack:
    """A pack whose share has a standby, and a platform on a cluster of the same servers."""
    SshCredentials(private_key=SecretStr("key")).save("ovw-key")
    login = SshCredentials.load("ovw-key")
    machine = {"address": "192.0.2.1", "host_keys": ["ssh-ed25519 AAAA"], "credentials": login}
    for name in NAMES:
        WebServer(kind="apache", **machine).save(name)
    for name, address in (("ovw-nfs1", "192.0.2.3"), ("ovw-nfs2", "192.0.2.4")):
        NfsServer(**{**machine, "address": address}).save(name)
    servers = {"server": NfsServer.load("ovw-nfs1"), "standby": NfsServer.load("ovw-nfs2")}
    Share(**servers, recovery_point_seconds=600).save("ovw-share")
    Pack(master=WebServer.load(NAMES[0]), slaves=[NAMES[1]], share=Share.load("ovw-share")).save("ovw-pack")
    Cluster(servers=list(NAMES)).save("ovw-web")
    Platform(target=Cluster.load("ovw-web"), source="/srv/blog").save("ovw-blog")
    return Pack.load("ovw-pack")


@pytest.fixture
def client(pack: Pack) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def look_of(page: str) -> str:
    return page.partition("Compared with what is registered")[0]


@flow
def publish(kind: str, about: str, rows: list[dict[str, str]], outcomes: Any = None) -> None:
    publish_table(kind, about, rows, "-")
    if outcomes is not None:
        publish_outcomes(about, outcomes)


def test_what_the_night_found_is_on_the_page(pack: Pack) -> None:
    row = {
        "of": "platform ovw-blog",
        "subject": "code",
        "host": NAMES[0],
        "difference": "is spoiled",
        "run": "-",
    }
    rows = [{**row, "result": "reported"}, {**row, "host": NAMES[1], "result": "repaired"}]
    lost = Outcomes((Outcome("cluster ovw-web", "prepare-server", error="no answer"),))
    publish("drift", "everything", rows, lost)
    look = look_of(refresh_overview())
    assert re.search(r"\*\*Not known\*\* of cluster ovw-web, as of \d{4}-\d\d-\d\d \d\d:\d\d UTC", look)
    assert f"    * {NAMES[0]}: code: is spoiled" in look
    assert NAMES[1] not in look.partition("drift-everything")[2].partition("**share")[0]
    publish("drift", "everything", [], Outcomes((Outcome("cluster ovw-web", "prepare-server"),)))
    look = look_of(refresh_overview())
    assert "Not known" not in look
    assert "is spoiled" not in look


def test_grants_that_drifted_are_there_until_they_were_repaired(pack: Pack) -> None:
    row = {"kind": "MISSING", "site": "ovw.example", "account": "u@h", "detail": "-", "server": "db"}
    about, done = "grants of ovw-site", Outcomes((Outcome("db", "grant", changed=True),))
    publish("drift", about, [row], Outcomes())
    page = refresh_overview()
    assert "ovw.example: MISSING: u@h" in look_of(page)
    assert "see `drift-grants-of-ovw-site`" in look_of(page)
    publish("drift", about, [row], done)
    assert "ovw.example: MISSING" not in look_of(refresh_overview())
    # Another run's table: what that one repaired is not what this one found.
    publish("drift", about, [row])
    assert "ovw.example: MISSING" in look_of(refresh_overview())
    # All sites were looked at since.
    publish("drift", "grants of all sites", [], Outcomes())
    page = refresh_overview()
    assert "ovw.example" not in look_of(page)
    assert "`drift-grants-of-all-sites` as of" in page


def test_a_rollback_says_which_release_is_current(pack: Pack) -> None:
    @flow
    def run(about: str, step: str, release: str) -> Any:
        return conclude(about, Outcomes(tuple(Outcome(n, step, changed=True, detail=release) for n in NAMES)))

    run("deploy ovw-blog", "switch", "20260102000000-bbbb")
    assert "| ovw-blog | php | 20260102000000-bbbb |" in refresh_overview()
    run("roll ovw-blog back", "switch", "20260101000000-aaaa")
    assert "| ovw-blog | php | 20260101000000-aaaa |" in refresh_overview()


def publish_watch(verdict: Verdict) -> None:
    rows = {(name, "/x"): Row(verdict, datetime.now(UTC)) for name in (*NAMES, "ovw-nfs1")}
    publish("share", "ovw-share", Watch(rows).as_rows())


def publish_copy(age: float) -> None:
    now = datetime.now(UTC)
    started = now.timestamp() - age
    proof = SyncProof(sequence=3, started=started, finished=started, epoch=1, server="ovw-nfs1")
    publish("standby", "ovw-share", Standing("ovw-nfs2", State.OK, now, now, proof).as_rows())


def view(pack: Pack, later: timedelta = timedelta()) -> dict[str, str]:
    keys = [artifact_key(kind, "ovw-share") for kind in ("share", "standby")]
    tables: dict[str, ArtifactCollection] = read_tables(keys)
    group = view_pack("ovw-pack", pack, WebServer.find_all(), tables, datetime.now(UTC) + later)
    return {machine.name: f"{machine.verdict} {machine.detail}".strip() for machine in group.machines}


def test_verdicts_grow_old_and_copies_too(pack: Pack) -> None:
    assert view(pack)["ovw-nfs2"] == "BEHIND nothing was copied to it yet"
    assert view(pack)["ovw-web1"] == overview.OLD
    publish_watch(Verdict.OK)
    publish_copy(age=90)
    now = view(pack)
    assert [now[name] for name in (*NAMES, "ovw-nfs1")] == ["OK", "OK", "OK"]
    assert re.match(r"OK its copy is 9\d s old; last tried ", now["ovw-nfs2"])
    late = view(pack, timedelta(minutes=11))
    assert [late[name] for name in (*NAMES, "ovw-nfs1")] == ["OLD", "OLD", "OLD"]
    assert re.match(r"BEHIND its copy is 7\d\d s old; ", late["ovw-nfs2"])
    page = refresh_overview()
    assert "**share ovw-share**" not in page
    assert "Standby ovw-nfs2 is OK: its copy is" in page


def test_what_is_wrong_is_named_with_its_table(pack: Pack, client: SyncPrefectClient) -> None:
    publish_watch(Verdict.STALE)
    assert "* **ovw-web2** (pack ovw-pack): STALE, see `share-ovw-share`" in look_of(refresh_overview())
    (kept,) = read_tables(["overview"]).values()
    assert "STALE, see `share-ovw-share`" in str(kept.data)
