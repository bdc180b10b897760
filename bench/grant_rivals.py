"""Other ways to the same accounts: Ansible's mysql_user, and Aegir's GRANT for every host and site."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bench.ansible import install
from bench.contender import run_command
from tasks.fleet import Database
from tasks.grants.connection import open_admin
from tasks.grants.statements import quote_account, quote_identifier
from tasks.grants.values import Account, SiteAccess

COLLECTION = "ansible_collections/community/mysql/"
DRIVER = ("PyMySQL==1.1.1", "cryptography")
PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - community.mysql.mysql_db:
        login_host: "{{ server.host }}"
        login_user: "{{ server.user }}"
        login_password: "{{ server.password }}"
        name: "{{ item }}"
        encoding: utf8mb4
      loop: "{{ databases }}"
      no_log: true
    - community.mysql.mysql_user:
        login_host: "{{ server.host }}"
        login_user: "{{ server.user }}"
        login_password: "{{ server.password }}"
        name: "{{ item.user }}"
        host: "{{ item.host }}"
        password: "{{ item.password | default(omit) }}"
        plugin: "{{ item.plugin | default(omit) }}"
        plugin_auth_string: "{{ item.plugin_auth_string | default(omit) }}"
        salt: "{{ item.salt | default(omit) }}"
        priv: "{{ item.priv }}"
        column_case_sensitive: true
      loop: "{{ accounts }}"
      no_log: true
"""


class AnsibleUsers:
    """`community.mysql.mysql_user` in a loop, as its documentation shows; started anew for every run.

    With `password` it cannot make an account on MySQL 9.7, which has no native plugin any more. There it gets
    the plugin and a salt, without which it would set every password anew in every run.
    """

    def __init__(self, database: Database, home: Path, *, salted: bool) -> None:
        self.database, self.home, self.salted = database, home, salted

    def apply(self, accesses: Sequence[SiteAccess]) -> None:
        """Make every account; raises Failed with what Ansible said."""
        if not (self.home / ".ready").exists():
            install(self.home, collection=COLLECTION, also=DRIVER)
        (self.home / "ansible.cfg").write_text("", encoding="utf-8")
        (self.home / "playbook.yml").write_text(PLAYBOOK, encoding="utf-8")
        variables = self.home / "variables.json"
        variables.touch(mode=0o600)
        variables.write_text(json.dumps(self._variables(accesses)), encoding="utf-8")
        try:
            program = str(self.home / "venv" / "bin" / "ansible-playbook")
            files = ("-i", "localhost,", "-e", f"@{variables}", str(self.home / "playbook.yml"))
            run_command((program, *files), env=self._environment())
        finally:
            variables.unlink()

    def _variables(self, accesses: Sequence[SiteAccess]) -> dict[str, object]:
        return {
            "server": {
                "host": self.database.host,
                "user": self.database.admin_user,
                "password": self.database.admin_password.get_secret_value(),
            },
            "databases": [access.database for access in accesses],
            "accounts": [
                {
                    "user": access.user,
                    "host": host,
                    **self._login(access),
                    "priv": f"{access.database}.*:{','.join(access.privileges)}",
                }
                for access in accesses
                for host in access.hosts
            ],
        }

    def _login(self, access: SiteAccess) -> dict[str, str]:
        password = access.password.get_secret_value()
        if not self.salted:
            return {"password": password}
        salt = access.user[-20:].rjust(20, "x")
        return {"plugin": "caching_sha2_password", "plugin_auth_string": password, "salt": salt}

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(self.home / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.home),
            "ANSIBLE_COLLECTIONS_PATH": str(self.home / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_PYTHON_INTERPRETER": str(self.home / "venv" / "bin" / "python"),
            "ANSIBLE_NOCOLOR": "1",
        }


class AegirGrants:
    """A GRANT for every host and site, whatever is there, one after another (provision, db/mysql.php).

    `GRANT … IDENTIFIED BY` is no longer SQL everywhere, so here with the CREATE USER that it stood for. Aegir
    also starts a mysql client on the web server for each host, to find its address; that is left out.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def apply(self, accesses: Sequence[SiteAccess]) -> None:
        """Every account is granted everything on its database."""
        with closing(open_admin(self.database)) as connection, connection.cursor() as cursor:
            for access in accesses:
                name = quote_identifier(access.database).replace("%", "%%")
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS {name}")
                for host in access.hosts:
                    who = quote_account(Account(access.user, host))
                    cursor.execute(
                        f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY %s",
                        (access.password.get_secret_value(),),
                    )
                    cursor.execute(
                        f"ALTER USER {who} IDENTIFIED BY %s", (access.password.get_secret_value(),)
                    )
                    cursor.execute(f"GRANT ALL PRIVILEGES ON {name}.* TO {who}")
