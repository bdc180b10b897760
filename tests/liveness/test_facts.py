"""What the probe prints, read; and the probe itself, on this machine, where nothing is mounted."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.liveness import facts
from tasks.liveness.facts import parse_sight
from tasks.liveness.values import Ids, NullAnswer, Owner
from tasks.nfs.mounted import mount_at

PROBE = Path(facts.__file__).with_name("scripts") / "probe.pl"
PRINTED = """\
ids\t5000\t5000\t33
null\tok\t0.008\t
step\t/var/aegir/platforms\troot\tok\t0.009\t5000\t5000\t0755
step\t/var/aegir/platforms\tlookup\tok\t0.003\tabsent
step\t/var/aegir/platforms\ttoken\tok\t0.043\tnone
done\t/var/aegir/platforms
hung\t/var/aegir/sites\t1795415160
left\t731 733
mountinfo\t109 16 0:31 / /var/aegir/platforms ro,noatime shared:49 - nfs4 192.0.2.61:/srv/code ro,vers=4.2
drained\tphp8.2-fpm
threads\t8
export\t/srv/files/sites\t192.0.2.71(rw,sync,fsid=1002)
seen\t/srv/files/sites\tslave1\t5000\t5000
a word of a later version\tis passed over
"""


def test_what_the_probe_prints_is_read() -> None:
    sight = parse_sight(PRINTED)
    assert sight.ids == Ids(5000, 5000, 33)
    assert sight.null == NullAnswer("ok", 0.008)
    code, data = sight.path("/var/aegir/platforms"), sight.path("/var/aegir/sites")
    assert code.answered
    assert code.value("root") == "5000"
    assert round(code.seconds, 3) == 0.055
    assert (data.answered, data.hung_since) == (False, 1795415160.0)
    assert sight.left == ("731", "733")
    entry = mount_at(sight.mounts, "/var/aegir/platforms")
    assert entry is not None
    assert entry.source == "192.0.2.61:/srv/code"
    assert sight.drained == ("php8.2-fpm",)
    assert sight.threads == 8
    assert [(each.path, each.client, each.writable) for each in sight.exports] == [
        ("/srv/files/sites", "192.0.2.71", True)
    ]
    assert sight.owners == (Owner("/srv/files/sites", "slave1", 5000, 5000),)


def test_a_probe_that_was_cut_short_has_seen_nothing() -> None:
    sight = parse_sight("")
    assert sight.ids == Ids()
    assert sight.null.result == "silent"
    assert not sight.path("/var/aegir/sites").answered


@pytest.mark.skipif(not shutil.which("perl"), reason="needs perl")
def test_the_probe_needs_nothing_but_the_smallest_perl() -> None:
    """perl-base is on every Debian, and nothing else can be taken for granted there."""
    needs = subprocess.run(
        ["perl", "-c", PROBE, *["node", "n", "u", "g", "127.0.0.1", "1"]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "syntax OK" in needs.stderr, needs.stderr
    used = {line.split()[1].rstrip(";") for line in PROBE.read_text().splitlines() if line.startswith("use ")}
    assert used <= {"strict", "warnings", "constant", "Errno", "Fcntl", "IO::Handle", "POSIX", "Socket"}
