"""The demo: a Prefect server, a worker, the demo's nodes as inventory, and the main job through the API.

`up` starts what is not running, registers everything and triggers the flows as another system would, with
nothing but HTTP; `pack` does the same for a pack; both can be run again. `can-pack` says whether the machines
of a pack can run here. `down` stops what `up` started and nothing else. The nodes themselves are brought up
and down by docker/nodes.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from deployments.demo_grants import ACCOUNT, create_own_account, show_reconciliation
from deployments.demo_pack import find_obstacle, run_pack
from deployments.demo_services import Services
from deployments.demo_site import SITE, TITLE, publish_post, read_page, say
from tasks.errors import PackmasterError

STATE = Path(os.environ.get("PACKMASTER_STATE", ".packmaster/demo")).resolve()
PROJECT = os.environ.get("PACKMASTER_PROJECT", "packmaster-demo")
NET = os.environ.get("PACKMASTER_NET", "10.213.41")
NODES = {"web1": f"{NET}.11", "web2": f"{NET}.12", "web3": f"{NET}.13", "web4": f"{NET}.14"}
PORTS = {name: int(os.environ.get("PACKMASTER_HTTP_BASE") or 8081) + n for n, name in enumerate(NODES)}
SOURCE = Path(".packmaster/sources/wordpress").resolve()


def main(argv: list[str]) -> int:
    """Run `up`, `pack` or `down`; the exit status is 0 when it did what it says."""
    services = Services(STATE, port=int(os.environ.get("PACKMASTER_UI_PORT", "4200")))
    if argv == ["down"]:
        services.stop()
        return 0
    if argv == ["can-pack"]:
        obstacle = find_obstacle()
        if obstacle:
            say(f"no pack in this demo: {obstacle}")
        return 1 if obstacle else 0
    if argv not in (["up"], ["pack"]):
        say("usage: python -m deployments.demo up|can-pack|pack|down")
        return 2
    try:
        if argv == ["up"]:
            run_demo(services)
        else:
            run_pack(services, NET)
    except PackmasterError as failure:
        say(f"the demo failed: {failure}")
        return 1
    return 0


def run_demo(services: Services) -> None:
    """Bring everything up and run the main job; raises PackmasterError naming what failed."""
    started = time.monotonic()
    services.start()
    say(f"giving Packmaster the account {ACCOUNT} on {PROJECT}-db (packmaster grants setup-sql)")
    create_own_account(f"{PROJECT}-db", f"{NET}.1", STATE / "db_admin_password")
    services.register(write_inventory())
    api = services.api()
    api.run("prepare-server", {"servers": list(NODES)})
    platform = {
        "platform": "blog",
        "target": api.reference("packmaster-cluster", "web"),
        "source": str(SOURCE),
    }
    api.run("create-platform", platform | {"profile": "wordpress"})
    blog = api.reference("packmaster-platform", "blog")
    database = api.reference("packmaster-database-server", "db1")
    api.run("add-site", {"uri": SITE, "platform": blog, "database": database, "title": TITLE})
    api.run("verify-platform", {"platform": blog})
    show_reconciliation(api, f"{NET}.20", STATE / "db_admin_password", "web3", NODES["web3"])
    report(services, started)


def write_inventory() -> Path:
    """Describe the demo's nodes as an operator would; returns the file's path."""
    keys = dict(line.split(",", 1) for line in (STATE / "known_hosts").read_text().splitlines() if line)
    lines = ["ssh_credentials:", "  fleet:", "    private_key: {file: id_ed25519}", "web_servers:"]
    for number, (name, address) in enumerate(NODES.items()):
        lines += [
            f"  {name}:",
            f"    address: {address}",
            f"    kind: {'apache' if number < 2 else 'nginx'}",
            "    credentials: fleet",
            f"    host_keys: ['{keys[name].split(' ', 1)[1]}']",
        ]
    lines += [
        "database_servers:",
        "  db1:",
        f"    host: {NET}.20",
        f"    admin_user: {ACCOUNT}",
        "    admin_password: {file: db_admin_password}",
        "clusters:",
        "  web:",
        f"    servers: [{', '.join(NODES)}]",
    ]
    path = STATE / "inventory.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def report(services: Services, started: float) -> None:
    """Publish a post through one node, read it through all of them, and say where to look."""
    say(f"publishing a post through web1 ({NODES['web1']})")
    post = publish_post(NODES["web1"], SITE, services.admin_password(SITE))
    say("")
    for name, address in NODES.items():
        status, body = read_page(address, SITE)
        seen = "and shows the post" if post in body else "but does NOT show the post"
        if status != 200 or TITLE not in body or post not in body:
            raise PackmasterError(f"{name} answered {status} {seen}; look at http://{address}/")
        say(f"  {name}  http://{SITE}:{PORTS[name]}/  ({address})  answers {status} {seen}")
    say("")
    say(
        f"  log in:  http://{SITE}:{PORTS['web1']}/wp-login.php as admin; the password is in the site's block"
    )
    say(f"  by hand: curl -H 'Host: {SITE}' http://{NODES['web3']}/")
    say(f"  the UI:  {services.ui}  (Runs: what was done; Artifacts: plans and outcomes; Blocks: the fleet)")
    say(f"  stop it: make down                         ({time.monotonic() - started:.0f} s in all)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
