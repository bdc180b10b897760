"""The demo's database access: Packmaster's own account, as `setup-sql` makes it, and a grant that is revoked
by hand on one node, shown as drift, and repaired by the flow.
"""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr

from deployments.api import Api
from deployments.demo_site import SITE, read_page, say
from tasks.errors import PackmasterError
from tasks.fleet import Database
from tasks.grants import SITE_PRIVILEGES, database_name, user_name
from tasks.grants.connection import open_admin
from tasks.grants.own_account import setup_sql
from tasks.grants.spelling import escape_pattern
from tasks.grants.statements import quote_account, quote_identifier
from tasks.grants.values import Account

SERVER, CLUSTER = "db1", "web"
ACCOUNT = "packmaster_flows"


def create_own_account(container: str, address: str, password: Path) -> None:
    """Do what an administrator does with the output of `packmaster grants setup-sql`; safe to repeat."""
    secret = password.read_text(encoding="utf-8").strip()
    sql = setup_sql("mariadb", ACCOUNT, address, password=secret)
    command = ("docker", "exec", "-i", container, "mysql")
    done = subprocess.run(command, input=sql, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise PackmasterError(f"{container}: {done.stderr.strip()}. Look at: docker logs {container}")


def show_reconciliation(api: Api, host: str, password: Path, node: str, address: str) -> None:
    """Revoke what the node may do and have it repaired, matrix and all; PackmasterError when it is not."""
    say(f"revoking by hand what {node} may do in the site's database")
    secret = SecretStr(password.read_text(encoding="utf-8").strip())
    revoke_rights(Database(SERVER, host, ACCOUNT, secret), address)
    say(f"    {node} answers {read_page(address, SITE)[0]} now")
    # Not all of the server's sites: those of a pack that `make down` took away have no node that is seen.
    api.run("reconcile-grants", {"target": api.reference("packmaster-cluster", CLUSTER)})
    for row in api.table(f"matrix-grants-of-{CLUSTER}"):
        say("    " + "  ".join(f"{column}: {value}" for column, value in row.items() if value))
    status, _ = read_page(address, SITE)
    if status != 200:
        raise PackmasterError(f"{node} answers {status} although reconcile-grants ended well")
    say(f"    {node} answers {status} again")


def revoke_rights(database: Database, address: str) -> None:
    """What somebody may do to the site's account of one node, in the server's own client; to be repeated."""
    account = quote_account(Account(user_name(SITE), address))
    pattern = quote_identifier(escape_pattern(database_name(SITE)))
    with closing(open_admin(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"GRANT SELECT ON {pattern}.* TO {account}")
        cursor.execute(f"REVOKE {', '.join(SITE_PRIVILEGES)} ON {pattern}.* FROM {account}")
