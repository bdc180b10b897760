"""The packmaster command as an operator types it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import Cluster, Pack, WebServer
from deployments import host_keys
from deployments.cli import main

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
SECRET = "cli-private-key-0b9d"


def packmaster(*arguments: str | Path, typed: str = "") -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=typed)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "id").write_text(SECRET)
    path = tmp_path / "inventory.yaml"
    path.write_text(
        "ssh_credentials:\n  cli-key: {private_key: {file: id}}\n"
        "web_servers:\n"
        f"  cli-web1: {{address: 198.51.100.1, kind: apache, credentials: cli-key, host_keys: ['{KEY}']}}\n"
        "clusters:\n  cli-web: {servers: [cli-web1]}\n"
    )
    return path


def test_applying_shows_what_changed(inventory: Path, prefect_server: str) -> None:
    tried = packmaster("inventory", "apply", inventory, "--dry-run")
    assert tried.exit_code == 0
    assert "dry run: 3 of 3 would change" in tried.output
    assert Cluster.find("cli-web") is None

    first = packmaster("inventory", "apply", inventory)
    assert first.exit_code == 0
    assert "create    web_servers/cli-web1" in first.output
    assert "3 of 3 changed" in first.output
    assert Cluster.get("cli-web", "a test").resolve().node_names == ("cli-web1",)

    second = packmaster("inventory", "apply", inventory)
    assert second.exit_code == 0
    assert second.output.splitlines()[-1] == "nothing changed"

    inventory.write_text(inventory.read_text().replace("198.51.100.1", "198.51.100.7"))
    third = packmaster("inventory", "apply", inventory)
    assert "address: '198.51.100.1' -> '198.51.100.7'" in third.output
    assert "1 of 3 changed" in third.output
    assert WebServer.get("cli-web1", "a test").address == "198.51.100.7"
    assert SECRET not in tried.output + first.output + second.output + third.output


def test_a_pack_and_its_share_are_registered_from_one_file(tmp_path: Path, prefect_server: str) -> None:
    (tmp_path / "id").write_text(SECRET)
    machine = f"credentials: cli-key, host_keys: ['{KEY}']"
    path = tmp_path / "pack.yaml"
    path.write_text(
        "ssh_credentials:\n  cli-key: {private_key: {file: id}}\n"
        "web_servers:\n"
        f"  cli-master1: {{address: 198.51.100.71, kind: apache, {machine}}}\n"
        f"  cli-slave1: {{address: 198.51.100.72, kind: nginx, {machine}}}\n"
        f"nfs_servers:\n  cli-nfs1: {{address: 198.51.100.61, {machine}}}\n"
        "shares:\n  cli-files: {server: cli-nfs1}\n"
        "packs:\n  cli-farm: {master: cli-master1, slaves: [cli-slave1], share: cli-files}\n"
    )
    first = packmaster("inventory", "apply", path)
    assert first.exit_code == 0, first.output
    assert Pack.get("cli-farm", "a test").share.name == "cli-files"
    assert packmaster("inventory", "apply", path).output.splitlines()[-1] == "nothing changed"


def test_a_refusal_is_one_message_and_status_1(inventory: Path, prefect_server: str) -> None:
    inventory.write_text(inventory.read_text() + "servers: {}\n")
    refused = packmaster("inventory", "apply", inventory)
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: ")
    assert "unknown section 'servers'" in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.server
def test_one_machine_under_two_names_is_refused(inventory: Path, prefect_server: str) -> None:
    """Also when the other name was registered by an earlier file."""
    twin = inventory.read_text().replace("cli-web1", "cli-twin").replace("cli-web:", "cli-twins:")
    packmaster("inventory", "apply", inventory)
    address = WebServer.get("cli-web1", "a test").address
    inventory.write_text(twin.replace("198.51.100.1", address))
    refused = packmaster("inventory", "apply", inventory)
    assert refused.exit_code == 1
    assert f"cli-twin and cli-web1 are one web server, {address} port 22" in refused.output
    assert "Keep one of the entries" in refused.output
    assert WebServer.find("cli-twin") is None


def test_a_server_that_is_not_there_is_one_message_too(inventory: Path) -> None:
    """The first thing that goes wrong on a new machine: no server, or the wrong address."""
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    command = [sys.executable, "-m", "deployments.cli", "inventory", "apply", str(inventory)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "http://127.0.0.1:1/api" in done.stderr


@pytest.mark.server
def test_without_a_server_nothing_is_done_on_one_that_nobody_sees(tmp_path: Path) -> None:
    """Prefect would start one for the command alone, and all would seem well."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "bootstrap"],
        env={**environment, "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Error: PREFECT_API_URL is not set. export PREFECT_API_URL=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("prefect/*.db"))


@pytest.mark.parametrize("command", [("bootstrap",), ("doctor",), ("worker",), ("inventory", "apply")])
def test_every_command_that_asks_a_server_wants_one_named(command: tuple[str, ...], inventory: Path) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        refused = packmaster(*command, *([inventory] if "apply" in command else []))
    assert refused.exit_code == 1
    assert "PREFECT_API_URL is not set" in refused.output


def test_a_file_that_is_not_there_is_named() -> None:
    refused = packmaster("inventory", "apply", "gone.yaml")
    assert refused.exit_code == 2
    assert "gone.yaml" in refused.output


def test_host_keys_are_shown_and_pinned_only_after_a_yes(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory.write_text(inventory.read_text().replace(f"['{KEY}']", "[]"))
    before = inventory.read_text()
    monkeypatch.setattr(host_keys, "scan_host_keys", lambda address, port=22: (KEY,))

    shown = packmaster("inventory", "scan-host-keys", inventory)
    assert shown.exit_code == 0
    assert "NOT PINNED" in shown.output
    assert "SHA256:" in shown.output
    assert inventory.read_text() == before

    refused = packmaster("inventory", "scan-host-keys", inventory, "--write", typed="n\n")
    assert refused.exit_code == 1
    assert inventory.read_text() == before

    pinned = packmaster("inventory", "scan-host-keys", inventory, "--write", typed="y\n")
    assert pinned.exit_code == 0
    assert KEY in inventory.read_text()

    again = packmaster("inventory", "scan-host-keys", inventory, "--write")
    assert "nothing to do" in again.output


def test_help_needs_no_prefect() -> None:
    """Importing it takes seconds, and `--help` is asked for often."""
    code = "import sys; from deployments.cli import main; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("words", [(), ("inventory",), ("inventory", "apply"), ("bootstrap",), ("doctor",)])
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    shown = packmaster(*words, "--help")
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 4


def test_the_set_up_sql_holds_a_password_only_when_asked(tmp_path: Path) -> None:
    asked = ("grants", "setup-sql", "mysql", "--address", "10.0.0.5")
    shown = packmaster(*asked)
    assert shown.exit_code == 0
    assert "IDENTIFIED BY <password>;" in shown.output
    (tmp_path / "secret").write_text("a-password-for-the-account\n")
    filled = packmaster(*asked, "--password-file", tmp_path / "secret", "--require-tls")
    assert "IDENTIFIED BY 'a-password-for-the-account' REQUIRE SSL;" in filled.output
    assert "<password>" not in filled.output
    missing = packmaster(*asked, "--password-env", "NO_SUCH_VARIABLE")
    assert missing.exit_code == 2
    assert "the environment has no NO_SUCH_VARIABLE" in missing.output
    assert packmaster("grants", "setup-sql", "mysql", "--address", "%").exit_code == 1
