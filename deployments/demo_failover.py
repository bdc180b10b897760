"""What a pack does when its NFS server dies under load, as a time line; and the way back without loss."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deployments.api import Api
from deployments.demo_pack import EARLY, KINDS, LAST_OCTET, LATE, PACK, container_of, run_on, write_inventory
from deployments.demo_services import Services
from deployments.demo_site import PACK_SITE, read_page, say
from tasks.errors import PackmasterError

SHARE, FIRST, SECOND = "files", "nfs1", "nfs2"
DATA = f"/srv/packmaster/{SHARE}/sites/demo-load"
ASK_SECONDS, BOOT_SECONDS = 120.0, 180.0
# Numbers, one a line; each is on the server's disk before it is noted that it was acknowledged.
WRITER = """
n=1; rm -f /tmp/acked
while :; do
    if echo $n >>$0 && sync $0; then
        echo "$n $(date +%s)" >>/tmp/acked
        n=$((n + 1))
        sleep 0.1
    else
        sleep 0.3
    fi
done
"""


@dataclass
class Visitors:
    """Somebody asks each node for the site, again and again: when each broke, and when it was back."""

    nodes: dict[str, str]
    broke: dict[str, float] = field(default_factory=dict)
    back: dict[str, float] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        for name, address in self.nodes.items():
            threading.Thread(target=self._visit, args=(name, address), daemon=True).start()

    def _visit(self, name: str, address: str) -> None:
        while not self.ended.wait(0.5):
            try:
                well = read_page(address, PACK_SITE)[0] == 200
            except OSError:
                well = False
            if not well:
                self.broke.setdefault(name, time.time())
                self.back.pop(name, None)
            elif name in self.broke:
                self.back.setdefault(name, time.time())


def run_failover(services: Services, net: str) -> None:
    """Kill the NFS server of the demo's pack under load, let its standby take over, and go back.

    Raises PackmasterError naming what failed, and before anything is started where no pack runs.
    """
    refuse_without_pack()
    services.start()
    api = services.api()
    services.run_command("inventory", "apply", str(write_inventory(services.state, net, (EARLY, LATE))))
    api.run("provision-pack", {"pack": api.reference("packmaster-pack", PACK)})
    share = {"share": api.reference("packmaster-share", SHARE)}
    copy_to_standby(api, share)
    visitors = Visitors({name: f"{net}.{LAST_OCTET[name]}" for name in KINDS})
    visitors.start()
    start_writers()
    say(f"pulling the plug of {FIRST}, while all nodes are read from and written through")
    killed = time.time()
    _docker("kill", FIRST)
    fail_over(api, share, killed, visitors)
    report(killed, visitors, lost=stop_writers(SECOND))
    say(f"switching {FIRST} on again; what it has and {SECOND} has not is saved, and it is the standby")
    _docker("start", FIRST)
    _await_boot(FIRST)
    api.run("rejoin-standby", share)
    start_writers()
    api.run("switch-share", share)
    say(f"  lost in the planned switch: {len(stop_writers(FIRST))} records")


def copy_to_standby(api: Api, share: Mapping[str, object]) -> None:
    """The standby has what was there when this began; one copy at a time, so a scheduled one ends first."""
    ends = time.monotonic() + ASK_SECONDS
    while True:
        try:
            api.run("sync-standby", share)
            return
        except PackmasterError as refused:
            if "Cancelled" not in str(refused) or time.monotonic() > ends:
                raise
        say("    the schedule's own run is at it: trying again in 5 s")
        time.sleep(5)


def fail_over(api: Api, share: Mapping[str, object], killed: float, visitors: Visitors) -> None:
    """The flow asks for approval, gets it as from a person, and every node answers."""
    run = api.start("failover-share", share)
    api.approve(run, {"approve": "yes"}, ASK_SECONDS)
    say(f"    approved through the API, {time.time() - killed:.1f} s after the plug was pulled")
    api.finish("failover-share", run)
    ends = time.monotonic() + ASK_SECONDS
    while set(visitors.back) != set(visitors.broke) and time.monotonic() < ends:
        time.sleep(0.5)
    visitors.ended.set()
    for row in api.table(f"timeline-{SHARE}"):
        say(f"  {row['at']}  {seconds_after(killed, row['at']):6.1f} s  {row['what']}")
    say(f"  (seconds since the plug was pulled)  {api.headline(f'timeline-{SHARE}')}")


def seconds_after(killed: float, at: str) -> float:
    """From the kill to a time of the day, UTC, as the time line has it; midnight may be between the two."""
    hours, minutes, seconds = map(float, at.split(":"))
    return (hours * 3600 + minutes * 60 + seconds - killed) % 86400


def report(killed: float, visitors: Visitors, lost: list[float]) -> None:
    """When each node answered again, and what was lost."""
    for name in visitors.nodes:
        back = visitors.back.get(name)
        said = "was never missed" if name not in visitors.broke else "does NOT answer"
        say(f"  {name:8} {f'answers again after {back - killed:.1f} s' if back else said}")
    oldest = f", the oldest acknowledged {killed - min(lost):.0f} s before" if lost else ""
    say(f"  lost: {len(lost)} acknowledged records{oldest}")
    if any(name not in visitors.back for name in visitors.broke):
        raise PackmasterError("a node does not answer; the outcome of failover-share says why")


def start_writers() -> None:
    """Somebody writes through every node."""
    run_on("master1", "su", "aegir", "-s", "/bin/sh", "-c", "'install -d -m 777 /var/aegir/sites/demo-load'")
    for name in KINDS:
        run_on(
            name,
            f"rm -f /tmp/acked; nohup sh -c '{WRITER}' /var/aegir/sites/demo-load/{name} >/dev/null 2>&1 &",
        )


def stop_writers(server: str) -> list[float]:
    """Nobody writes any more; when each record was acknowledged that the server has not."""
    lost = []
    for name in KINDS:
        said = run_on(name, "pkill -9 -f demo-loa[d]; cat /tmp/acked || :").splitlines()
        has = set(run_on(server, f"cat {DATA}/{name} || :").split())
        lost += [float(line.split()[1]) for line in said if line.split()[0] not in has]
    return lost


def refuse_without_pack() -> None:
    """Raise PackmasterError unless the NFS servers of the demo's pack run."""
    for name in (container_of(FIRST), container_of(SECOND)):
        words = ["docker", "inspect", "--format", "{{.State.Running}}", name]
        try:
            said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout
        except FileNotFoundError:
            said = ""
        if said.strip() != "true":
            raise PackmasterError(f"{name}, a server of the demo's pack, is not running: `make demo` first")


def _docker(verb: str, machine: str) -> None:
    done = subprocess.run(
        ["docker", verb, container_of(machine)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise PackmasterError(f"docker {verb} {container_of(machine)} failed: {done.stderr.strip()}")
    say(f"    {datetime.now(UTC):%H:%M:%S} docker {verb} {container_of(machine)}")


def _await_boot(machine: str) -> None:
    ends = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < ends:
        try:
            run_on(machine, "systemctl is-system-running --wait || :")
        except (PackmasterError, subprocess.TimeoutExpired):
            time.sleep(1)
        else:
            return
    raise PackmasterError(f"{machine} has not booted within {BOOT_SECONDS:.0f} s")
