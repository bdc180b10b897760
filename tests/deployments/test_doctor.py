"""What the doctor says of machines and servers, well and ill."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from deployments import doctor
from deployments.cli import main
from deployments.doctor import examine_machine, judge_program, judge_refusal, judge_settings, judge_version

POOL = "doctor-test"


def ask(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["doctor", "--pool", POOL, *options])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("said", "needed", "verdict"),
    [
        (None, (3, 1), "missing"),
        ("rsync  version 3.2.7  protocol version 31", (3, 1), "ok"),
        ("rsync  version 2.6.9  protocol version 29", (3, 1), "missing"),
        ("tar (GNU tar) 1.34\nCopyright (C) 2021 Free Software Foundation", (1, 29), "ok"),
        ("tar (GNU tar) 1.28", (1, 29), "missing"),
        ("OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.11", (8, 0), "ok"),
        ("a fork without a number", (3, 1), "ok"),
    ],
)
def test_a_program_is_there_and_new_enough(said: str | None, needed: tuple[int, ...], verdict: str) -> None:
    finding = judge_program("rsync", said, needed, "rsync")
    assert finding.verdict == verdict
    assert bool(finding.remedy) == (verdict == "missing")


def test_this_machine_is_looked_at() -> None:
    programs = {"ssh", "ssh-keyscan", "rsync", "tar", "git"}
    assert {finding.what for finding in examine_machine()} == {"python", *programs}
    code, said = ask("--machine-only")
    assert code == ("missing " in said)


def test_a_machine_without_programs_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, said = ask("--machine-only")
    assert code == 1
    assert "apt-get install rsync" in said
    assert "5 thing(s) missing" in said


def test_versions_that_differ_are_a_note_and_those_that_differ_much_are_not() -> None:
    ours = doctor.prefect.__version__
    minor = ".".join(ours.split(".")[:2])
    assert judge_version("http://s/api", ours).verdict == "ok"
    assert judge_version("http://s/api", f"{minor}.999").verdict == "note"
    assert judge_version("http://s/api", "2.20.1").verdict == "missing"


def test_a_refusal_names_the_setting() -> None:
    assert "PREFECT_API_AUTH_STRING" in judge_refusal("http://s/api", 401).remedy
    assert "PREFECT_API_URL" in judge_refusal("http://s", 404).remedy


@pytest.mark.server
def test_no_server_is_a_finding_and_no_traceback() -> None:
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    command = [sys.executable, "-m", "deployments.cli", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "missing  server: http://127.0.0.1:1/api" in done.stdout
    assert "prefect server start" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def test_a_server_is_ill_then_well(client: SyncPrefectClient) -> None:
    code, said = ask()
    assert code == 1
    assert f"packmaster bootstrap --pool {POOL}" in said
    assert CliRunner().invoke(main, ["bootstrap", "--pool", POOL]).exit_code == 0
    code, said = ask()
    assert code == 1
    assert f"-> prefect worker start --pool {POOL}" in said
    assert "1 thing(s) missing" in said
    heartbeat = f"/work_pools/{POOL}/workers/heartbeat"
    client.request("POST", heartbeat, json={"name": "w1"}).raise_for_status()
    code, said = ask()
    assert code == 0, said
    assert f"ok       worker: w1 on the pool {POOL}" in said
    assert "note     telling: nobody is told" in said
    assert said.endswith("nothing is missing\n")
    client.request("PATCH", f"/work_pools/{POOL}", json={"concurrency_limit": 1}).raise_for_status()
    assert "runs one at a time" in ask()[1]
    client.request("PATCH", f"/work_pools/{POOL}", json={"is_paused": True}).raise_for_status()
    assert "is paused" in ask()[1]


def test_a_lock_that_nobody_lets_go_is_named(client: SyncPrefectClient) -> None:
    lock = "packmaster-server-doctor-stuck"
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=lock, limit=1, active_slots=1))
    try:
        code, said = ask()
        assert code == 1
        assert f"missing  lock {lock}: is taken, and no run that goes on holds it" in said
        assert f"prefect gcl update {lock} --active-slots 0" in said
    finally:
        client.delete_global_concurrency_limit_by_name(lock)
    assert lock not in ask()[1]


def test_a_server_that_was_set_up_for_a_trial_is_told_so(client: SyncPrefectClient) -> None:
    settings = client.request("GET", "/admin/settings").json()
    notes = list(judge_settings(settings))
    assert [note.verdict for note in notes] == ["note", "note"]
    assert "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=" in notes[0].remedy
    assert "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=" in notes[1].remedy
    settings["server"]["concurrency"]["lease_storage"] = doctor.IN_FILES
    for kept in (["events", "flow_runs"], True):
        settings["server"]["services"]["db_vacuum"]["enabled"] = kept
        assert list(judge_settings(settings)) == []
    for lost in (["events"], False, None):
        settings["server"]["services"]["db_vacuum"]["enabled"] = lost
        assert len(list(judge_settings(settings))) == 1
