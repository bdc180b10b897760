"""What facts.sh prints, as values; and that no script is broken shell."""

import base64
import subprocess
from importlib import resources

import pytest

from tasks.nfs.facts import parse_facts
from tasks.nfs.state import Beneath, Numbers, UnitState
from tasks.nfs.units import MOUNT_FILES
from tasks.scripts import read_script
from tasks.servers.state import PathState

SCRIPTS = sorted(
    path.name.removesuffix(".sh")
    for path in (resources.files("tasks.nfs") / "scripts").iterdir()
    if path.name != "common.sh"
)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PRINTED = "\n".join(
    [
        "system\tDebian GNU/Linux 12 (bookworm)\tdebian ",
        "systemd\tyes",
        "package\tnfs-common",
        "user\taegir:x:5000:5001::/var/aegir:/bin/bash",
        "group\taegir:x:5001:",
        "user\twww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin",
        "group\twww-data:x:33:aegir",
        "holder\tuid 5000\taegir",
        f"mountinfo\t{encoded('26 1 98:0 / / rw,relatime - ext4 /dev/ubda rw')}",
        f"fstab\t{encoded('# nothing')}",
        "path\t/srv\tdirectory\troot\troot\t755\t",
        f"beneath\t/var/aegir/sites\tdirectory\troot:root:555\t{encoded('a b' + chr(10) + 'c' + chr(10))}",
        "beneath\t/var/aegir/platforms\tdirectory\troot:root:555\t",
        "unit\tnfs-server.service\tyes\tno",
        f"exports\t/etc/exports\t{encoded('/home 192.0.2.1(rw)')}",
        f"table\t{encoded('/home' + chr(9) + '192.0.2.1(rw,sync)')}",
        "versions\t-2 +3 +4 +4.1 +4.2",
        "answer\t/var/aegir/sites\thung",
        "something\tnew",
    ]
)


def test_what_is_printed_is_understood() -> None:
    facts = parse_facts("slave1", PRINTED)
    assert facts.families == {"debian"}
    assert facts.systemd
    assert facts.numbers == Numbers(5000, 5001, 5001, 33, 33)
    assert facts.holders == {"uid 5000": "aegir"}
    assert facts.mounts[0].point == "/"
    assert facts.fstab == "# nothing"
    assert facts.path("/srv") == PathState("directory", "root", "root", 0o755)
    assert facts.beneath["/var/aegir/sites"] == Beneath("directory", "root", "root", 0o555, ("a b", "c"))
    assert facts.beneath["/var/aegir/platforms"].entries == ()
    assert facts.unit("nfs-server.service") == UnitState(True, False)
    assert [(e.path, e.options) for e in facts.table] == [("/home", ("rw", "sync"))]
    assert facts.files == {"/etc/exports": "/home 192.0.2.1(rw)"}
    assert "+4.2" in facts.versions
    assert facts.answers == {"/var/aegir/sites": "hung"}


def test_a_machine_that_is_no_debian_says_only_what_it_is() -> None:
    assert parse_facts("x", "system\tAlpine Linux\talpine ").system == "Alpine Linux"
    assert parse_facts("x", "").numbers == Numbers()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_shell(name: str) -> None:
    subprocess.run(["sh", "-n"], input=read_script("tasks.nfs", name), text=True, check=True)


def test_what_runs_at_boot_is_shell() -> None:
    subprocess.run(["sh", "-n"], input=MOUNT_FILES[0].content, text=True, check=True)
