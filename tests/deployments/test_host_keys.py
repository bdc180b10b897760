"""Host keys are collected for a person, and pinned only by one."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments import host_keys
from deployments.host_keys import HostKey, pin_host_keys, scan_host_keys, scan_inventory
from tasks.errors import PlanRefused, Unreachable

# Made for this test; SHA256 fingerprints as ssh-keygen prints them.
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI"
INVENTORY = f"""# Our fleet.
web_servers:
  web1:  # in the first rack
    address: 192.0.2.1
    kind: apache
    credentials: fleet
    host_keys: []  # not yet compared
  web2:
    address: 192.0.2.2
    ssh_port: 2222
    kind: nginx
    credentials: fleet
    host_keys:
      - {ED25519} root@web2
# The end.
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY)
    return path


Scanner = Callable[..., list[list[str]]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Scanner:
    """Let ssh-keyscan print something; returns the commands it was called with."""

    def answer(out: str, err: str = "") -> list[list[str]]:
        calls: list[list[str]] = []

        def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
            assert options["timeout"]
            calls.append(command)
            return subprocess.CompletedProcess(command, 0, out, err)

        monkeypatch.setattr(host_keys.subprocess, "run", run)
        return calls

    return answer


def test_keys_are_read_best_first_without_comments(answer: Scanner) -> None:
    calls = answer(
        f"# 192.0.2.1:22 SSH-2.0-OpenSSH_9.2\n192.0.2.1 {ECDSA}\n# again\n192.0.2.1 {ED25519}\n\n192.0.2.1\n"
    )
    assert scan_host_keys("192.0.2.1", 2222) == (ED25519, ECDSA)
    # An address never becomes an option.
    assert calls[0][-2:] == ["--", "192.0.2.1"]
    assert calls[0][calls[0].index("-p") + 1] == "2222"


def test_a_server_that_offers_nothing_is_unreachable(answer: Scanner) -> None:
    answer("", "getaddrinfo web1: Name or service not known\n")
    with pytest.raises(Unreachable, match="web1 cannot be reached: port 22 offered no host key: getaddrinfo"):
        scan_host_keys("web1")


def test_a_scan_that_hangs_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(host_keys.subprocess, "run", run)
    with pytest.raises(Unreachable, match="did not finish in 20 s"):
        scan_host_keys("192.0.2.1")


def test_a_closed_port_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="port 1 offered no host key"):
        scan_host_keys("127.0.0.1", 1)


def test_the_fingerprint_is_what_the_console_shows(tmp_path: Path) -> None:
    key = tmp_path / "key.pub"
    key.write_text(f"{ED25519} root@web1\n")
    shown = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True).stdout
    assert HostKey("web1", "192.0.2.1", ED25519, False).fingerprint == shown.split()[1]


def test_a_pin_with_a_comment_is_recognised(inventory: Path, answer: Scanner) -> None:
    answer(f"host {ED25519}\nhost {ECDSA}\n")
    assert scan_inventory(inventory) == (
        HostKey("web1", "192.0.2.1", ED25519, False),
        HostKey("web2", "192.0.2.2", ED25519, True),
    )


def test_a_server_that_offers_another_key_is_not_pinned(inventory: Path, answer: Scanner) -> None:
    answer(f"host {ECDSA}\n")
    assert [(key.server, key.pinned) for key in scan_inventory(inventory)] == [
        ("web1", False),
        ("web2", False),
    ]


def test_pinning_keeps_comments_and_everything_else(inventory: Path) -> None:
    pin_host_keys(inventory, (HostKey("web1", "192.0.2.1", ED25519, False),))
    text = inventory.read_text()
    for kept in (
        "# Our fleet.",
        "# in the first rack",
        "# The end.",
        f"{ED25519} root@web2",
        "ssh_port: 2222",
    ):
        assert kept in text
    assert text.count(ED25519) == 2
    assert list(inventory.parent.iterdir()) == [inventory]


def test_pinning_again_changes_nothing(inventory: Path) -> None:
    keys = (HostKey("web1", "192.0.2.1", ED25519, False),)
    pin_host_keys(inventory, keys)
    text = inventory.read_text()
    pin_host_keys(inventory, keys)
    assert inventory.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "web_servers: [",
        "- web1",
        "web_servers: [web1]",
        "web_servers: {web1: word}",
        "web_servers: {web1: {}}",
    ],
)
def test_a_file_that_is_no_inventory_is_refused(inventory: Path, text: str, answer: Scanner) -> None:
    answer(f"host {ED25519}\n")
    inventory.write_text(text)
    with pytest.raises(PlanRefused):
        scan_inventory(inventory)
