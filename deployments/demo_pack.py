"""The demo's second half: a pack on machines with kernels of their own, with the same WordPress on it."""

from __future__ import annotations

import os
import platform
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from deployments.demo_services import Services
from deployments.demo_site import PACK_SITE, POST, TITLE, publish_post, read_page, say, upload_file
from tasks.errors import PackmasterError

PACK, PLATFORM = "farm", "farm-blog"
SOURCE = Path(".packmaster/sources/wordpress").resolve()
SERVERS = ("nfs1", "nfs2")
KINDS = {"master1": "apache", "slave1": "apache", "slave2": "nginx"}
# The second one joins when there is a site already: that is when Aegir forgot the site's database.
EARLY, LATE = "slave1", "slave2"
LAST_OCTET = {"nfs1": 61, "nfs2": 62, "master1": 71, "slave1": 72, "slave2": 73}
LOOK_SECONDS = 60
# A file that was looked for before it was there may be missed for as long as NFS remembers that.
SEEN_SECONDS = 90


def find_obstacle() -> str:
    """Why User-Mode Linux, which the pack's machines run in, cannot run here; or nothing."""
    if platform.machine() != "x86_64":
        return f"User-Mode Linux runs on amd64 only, and this is {platform.machine()}"
    tun = Path("/dev/net/tun")
    if not (tun.exists() and stat.S_ISCHR(tun.stat().st_mode)):
        return "this machine has no /dev/net/tun, which a machine with its own kernel needs (modprobe tun)"
    return ""


def run_pack(services: Services, net: str) -> None:
    """Provide the pack, put a site on it, and add a slave: it answers through the master and both slaves.

    Raises PackmasterError naming what failed.
    """
    started = time.monotonic()
    services.start()
    api = services.api()
    members = api.fields("packmaster-pack", PACK).get("slaves", [EARLY])
    services.register(write_inventory(services.state, net, members))
    pack = api.reference("packmaster-pack", PACK)
    api.run("provision-pack", {"pack": pack})
    wanted = {"platform": PLATFORM, "target": pack, "source": str(SOURCE), "profile": "wordpress"}
    api.run("create-platform", wanted)
    blog = api.reference("packmaster-platform", PLATFORM)
    database = api.reference("packmaster-database-server", "db1")
    api.run("add-site", {"uri": PACK_SITE, "platform": blog, "database": database, "title": TITLE})
    api.run("add-node", {"target": pack, "server": LATE})
    api.run("verify-platform", {"platform": blog})
    report(services, net, started)


def write_inventory(state: Path, net: str, slaves: Sequence[str]) -> Path:
    """Describe the pack as an operator would, beside what the inventory of the cluster has."""
    keys = dict(line.split(",", 1) for line in (state / "known_hosts").read_text().splitlines() if line)
    lines = ["nfs_servers:"]
    for name in SERVERS:
        lines += [*_machine(name, net, keys), *_fence(name)]
    lines += ["web_servers:"]
    for name, kind in KINDS.items():
        lines += [*_machine(name, net, keys), f"    kind: {kind}"]
    lines += [
        "shares:",
        "  files:",
        "    server: nfs1",
        "    standby: nfs2",
        "packs:",
        f"  {PACK}:",
        "    master: master1",
        f"    slaves: [{', '.join(slaves)}]",
        "    share: files",
    ]
    path = state / "inventory-pack.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def container_of(machine: str) -> str:
    """The container that a machine of the demo runs in: its power switch."""
    return f"{os.environ.get('PACKMASTER_PROJECT', 'packmaster-demo')}-{machine}"


def _fence(name: str) -> list[str]:
    """How the controller switches it off: what IPMI, a hypervisor or a cloud's API does elsewhere."""
    return [
        f"    fence_command: [docker, kill, {container_of(name)}]",
        f"    fence_check: [docker, inspect, -f, '{{{{.State.Running}}}}', {container_of(name)}]",
        "    fence_off: 'false'",
    ]


def _machine(name: str, net: str, keys: dict[str, str]) -> list[str]:
    return [
        f"  {name}:",
        f"    address: {net}.{LAST_OCTET[name]}",
        "    credentials: fleet",
        f"    host_keys: ['{keys[name].split(' ', 1)[1]}']",
    ]


def report(services: Services, net: str, started: float) -> None:
    """Write through a slave, read through every node, look for the code on the NFS server, and say so."""
    nodes = {name: f"{net}.{LAST_OCTET[name]}" for name in KINDS}
    password = services.admin_password(PACK_SITE)
    say(f"publishing a post and uploading a file through slave1 ({nodes['slave1']})")
    post = publish_post(nodes["slave1"], PACK_SITE, password)
    upload = upload_file(nodes["slave1"], PACK_SITE, password)
    say("")
    for name, address in nodes.items():
        status, body = read_page(address, PACK_SITE)
        if status != 200 or TITLE not in body or post not in body:
            raise PackmasterError(f"{name} answered {status}, or without the post; look at http://{address}/")
        _wait_for_upload(name, address, upload)
        say(f"  {name:8} http://{address}/  answers {status}, shows the post and serves the upload")
    releases = run_on("nfs1", "ls", f"/srv/packmaster/files/platforms/{PLATFORM}/releases").split()
    say(f"  nfs1     has the code once: {', '.join(releases)}")
    for name in nodes:
        mounts = run_on(name, "findmnt", "-rn", "-t", "nfs4", "-o", "TARGET,SOURCE").splitlines()
        say(f"  {name:8} mounts {'; '.join(mount.replace(' ', ' from ') for mount in mounts)}")
    say("")
    say(f"  by hand: curl -H 'Host: {PACK_SITE}' http://{nodes['slave2']}/")
    say("  look in: docker/nodes ssh slave1      (a machine with its own kernel: reboot it, break it)")
    say(f"  stop it: make down                    ({time.monotonic() - started:.0f} s for the pack)")


def _wait_for_upload(name: str, address: str, path: str) -> None:
    ends = time.monotonic() + SEEN_SECONDS
    while read_page(address, PACK_SITE, path) != (200, POST):
        if time.monotonic() > ends:
            raise PackmasterError(f"{name} does not serve what was uploaded, http://{address}{path}")
        time.sleep(1)


def run_on(machine: str, *command: str) -> str:
    """What a command prints on a machine of the demo."""
    done = subprocess.run(
        ["docker/nodes", "ssh", machine, *command],
        capture_output=True, text=True, timeout=LOOK_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise PackmasterError(f"{machine}: {' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
