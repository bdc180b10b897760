"""The packmaster command: what an operator does outside the Prefect UI."""

from __future__ import annotations

import os
from pathlib import Path

import click
import httpx

from tasks.errors import PackmasterError


class OperatorGroup(click.Group):
    """Turns our errors into one readable message and exit status 1, instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except PackmasterError as error:
            raise click.ClickException(str(error)) from error
        except httpx.TransportError as lost:
            raise click.ClickException(
                f"the Prefect server does not answer at {lost.request.url}: {lost}. "
                "Start it, or correct PREFECT_API_URL"
            ) from lost


@click.group(cls=OperatorGroup)
def main() -> None:
    """Run PHP sites on fleets of web servers."""


@main.group()
def inventory() -> None:
    """Register servers, clusters, platforms and sites from a YAML file."""


POOL_HELP = "default: that of the last bootstrap, or packmaster"
INVENTORY_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@inventory.command("apply")
@INVENTORY_FILE
@click.option("--dry-run", is_flag=True, help="Show what would change and stop.")
def apply_inventory(file: Path, dry_run: bool) -> None:
    """Register or update what FILE names, and show what changed. Nothing is removed."""
    from deployments.collisions import refuse_collisions
    from deployments.connection import require_server
    from deployments.inventory import build_blocks, plan_changes, read_inventory, save_blocks

    require_server()
    entries = read_inventory(file)
    blocks = build_blocks(entries)
    refuse_collisions({(type(block), entry.block_name): block for entry, block in blocks.items()})
    changes = plan_changes(blocks)
    for change in changes:
        click.echo(str(change))
    work = sum(change.action != "unchanged" for change in changes)
    if dry_run:
        click.echo(f"dry run: {work} of {len(changes)} would change")
        return
    changed = {(change.section, change.name) for change in changes if change.action != "unchanged"}
    save_blocks({entry: block for entry, block in blocks.items() if (entry.section, entry.name) in changed})
    click.echo(f"{work} of {len(changes)} changed" if work else "nothing changed")


@inventory.command("scan-host-keys")
@INVENTORY_FILE
@click.option("--write", is_flag=True, help="After you confirm, pin the offered keys in FILE.")
def scan_host_keys(file: Path, write: bool) -> None:
    """Collect the SSH host keys of the web servers in FILE, for you to compare with their consoles.

    On a server's console, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints its fingerprint.
    """
    from deployments.host_keys import pin_host_keys, scan_inventory

    keys = scan_inventory(file)
    for key in keys:
        state = "pinned" if key.pinned else "NOT PINNED"
        click.echo(f"{key.server:16} {key.address:24} {key.key.split()[0]:20} {key.fingerprint}  {state}")
    if all(key.pinned for key in keys):
        click.echo("every server offers a pinned key; nothing to do")
        return
    if write:
        click.confirm("Did you compare these fingerprints, and shall they be pinned?", abort=True)
        pin_host_keys(file, keys)
        click.echo(f"pinned in {file}; run `packmaster inventory apply {file}` to register them")
    else:
        click.echo("to pin them, compare the fingerprints and run this again with --write")


@main.command()
@click.option("--pool", help=f"The work pool that runs our flows; {POOL_HELP}.")
@click.option("--pool-type", default="process", show_default=True, help="What kind, when it has to be made.")
@click.option("--dry-run", is_flag=True, help="Show what would change and stop.")
@click.option("--reset-switches", is_flag=True, help="Switch on what was switched off in the UI.")
def bootstrap(pool: str | None, pool_type: str, dry_run: bool, reset_switches: bool) -> None:
    """Make a Prefect server ready: block types, work pool, deployments, schedules, automations, locks.

    Shows what it changes. Safe to repeat, also after the inventory or Packmaster changed: it updates what
    differs and removes what is gone, never what somebody else made or switched off.
    """
    from deployments.bootstrap import apply_steps, find_pool, plan_server
    from deployments.connection import connect

    with connect() as client:
        plan = plan_server(client, pool or find_pool(client), reset_switches=reset_switches)
    click.echo(str(plan))
    if not dry_run:
        apply_steps(plan, pool_type)
    click.echo(f"{'dry run: ' if dry_run else ''}{len(plan.steps)} change(s)")


@main.command()
@click.option("--pool", help=f"The work pool that runs our flows; {POOL_HELP}.")
@click.option("--machine-only", is_flag=True, help="Look at this machine and ask no server.")
def doctor(pool: str | None, machine_only: bool) -> None:
    """Say what is missing on this machine and on the Prefect server, and what to do next.

    Changes nothing. Exit status 1 when something is missing; a note is none.
    """
    from deployments.doctor import examine

    missing = 0
    for finding in examine(pool, server=not machine_only):
        click.echo(str(finding))
        missing += finding.verdict == "missing"
    click.echo(f"{missing} thing(s) missing" if missing else "nothing is missing")
    if missing:
        raise SystemExit(1)


@main.command()
@click.option("--pool", help=f"The work pool whose runs it takes; {POOL_HELP}.")
@click.option("--name", default=None, help="What it is called in the UI.")
@click.option("--limit", default=8, show_default=True, type=click.IntRange(min=1), help="Runs at once.")
@click.option(
    "--alive-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that is touched whenever the server was asked, for a health check.",
)
def worker(pool: str | None, name: str | None, limit: int, alive_file: Path | None) -> None:
    """Run flows here, as `prefect worker start` does, and end none of them when told to stop.

    SIGTERM: no more runs are taken, and it leaves when the last of its own has ended.
    """
    import asyncio

    from deployments.bootstrap import find_pool
    from deployments.connection import connect
    from deployments.worker import serve

    with connect() as client:
        pool = pool or find_pool(client)
    asyncio.run(serve(pool, name, limit, alive_file))


@main.group()
def grants() -> None:
    """Access to database servers."""


password_file = click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Print the password that is in this file; otherwise <password> stands in its place.",
)
password_env = click.option(
    "--password-env", metavar="NAME", help="The same, from this environment variable."
)


@grants.command("setup-sql")
@click.argument("server", type=click.Choice(["mariadb", "mysql"]))
@click.option("--address", required=True, help="The controller's address, as the database server sees it.")
@click.option("--user", default="packmaster", show_default=True, help="The account's name.")
@password_file
@password_env
@click.option("--require-tls", is_flag=True, help="Let the account in over TLS only.")
def print_setup_sql(
    server: str,
    address: str,
    user: str,
    password_file: Path | None,
    password_env: str | None,
    require_tls: bool,
) -> None:
    """Print the SQL that makes Packmaster's own account on a database SERVER, with no right too many.

    To be piped into the server's client by an administrator:
    `packmaster grants setup-sql mariadb --address 10.0.0.5 --password-file secret | mariadb`.
    """
    from tasks.grants.own_account import ServerKind, setup_sql

    password = read_password(password_file, password_env)
    kind: ServerKind = "mariadb" if server == "mariadb" else "mysql"
    click.echo(setup_sql(kind, user, address, password=password, tls=require_tls), nl=False)


@grants.command("probe-sql")
@click.option("--network", required=True, help="The web servers' network, such as 10.0.0.0/24.")
@click.option("--user", default="packmaster_probe", show_default=True, help="The account's name.")
@password_file
@password_env
def print_probe_sql(network: str, user: str, password_file: Path | None, password_env: str | None) -> None:
    """Print the SQL that makes an account without privileges, by which nodes learn their address.

    Only for a server that speaks another language than English, whose refusals cannot be read.
    """
    from tasks.grants.own_account import probe_sql

    click.echo(probe_sql(user, network, password=read_password(password_file, password_env)), nl=False)


def read_password(file: Path | None, variable: str | None) -> str | None:
    """The password that a file or an environment variable holds, or None when neither is named."""
    if file and variable:
        raise click.UsageError("name a file or a variable, not both")
    if variable:
        if variable not in os.environ:
            raise click.UsageError(f"the environment has no {variable}")
        return os.environ[variable]
    return file.read_text(encoding="utf-8").rstrip("\n") if file else None


if __name__ == "__main__":
    main()
