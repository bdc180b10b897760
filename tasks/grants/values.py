"""What grants are about, as frozen values: what is desired, what is there, and one step between them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from tasks.grants.spelling import escape_pattern

# A role without any privilege. An account that holds it was made by us and may be changed by us.
MARKER_ROLE = "packmaster_managed"

# An account is built at an address that nobody can connect from (RFC 5737 documentation) and then renamed:
# it appears at its real host with password, mark and rights, or not at all, wherever the run is killed.
STAGING_HOST = "192.0.2.1"

# What the applications we install need of their own database (Drupal INSTALL.mysql.txt, WordPress handbook),
# and no more: never ALL, whose meaning changes with the server's version.
SITE_PRIVILEGES = (
    "ALTER",
    "CREATE",
    "CREATE TEMPORARY TABLES",
    "CREATE VIEW",
    "DELETE",
    "DROP",
    "INDEX",
    "INSERT",
    "LOCK TABLES",
    "REFERENCES",
    "SELECT",
    "SHOW VIEW",
    "TRIGGER",
    "UPDATE",
)

StepKind = Literal[
    "create role",
    "clear",
    "create account",
    "mark",
    "cut in",
    "alter",
    "unlock",
    "grant",
    "create database",
    "revoke",
    "drop database",
    "lock",
    "drop account",
]
REMOVALS: frozenset[StepKind] = frozenset({"revoke", "drop database", "lock", "drop account"})


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """One row of mysql.user: the same user name at another host is another account."""

    user: str
    host: str

    def __str__(self) -> str:
        return f"{self.user}@{self.host}"


@dataclass(frozen=True, slots=True)
class SiteAccess:
    """Desired: `user` may use `database` from exactly `hosts`, each an address that the database saw.

    `complete` says that every node of the site was observed; only then may a host be called stale.
    """

    site: str
    database: str
    user: str
    password: SecretStr
    hosts: tuple[str, ...]
    privileges: tuple[str, ...] = SITE_PRIVILEGES
    complete: bool = True


@dataclass(frozen=True, slots=True)
class RemovedAccess:
    """Desired: neither the database nor any of our accounts called `user` exists."""

    site: str
    database: str
    user: str


Desired = SiteAccess | RemovedAccess


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """An account as it is.

    `digest` is what the server stores for the first password, and is never printed; `others` are what it
    stores besides: MySQL's retained password, MariaDB's `OR` methods. `privileges` are those on `*.*`,
    `roles` those that it holds besides our mark; `active_role` that one of any is on from the login on.
    """

    account: Account
    managed: bool
    plugin: str
    digest: SecretStr
    locked: bool = False
    privileges: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    active_role: bool = False
    others: tuple[tuple[str, SecretStr], ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseRights:
    """One row of mysql.db; `pattern` is the database name as it is stored, escaped or not."""

    account: Account
    pattern: str
    privileges: frozenset[str]


@dataclass(frozen=True, slots=True, order=True)
class ObjectRights:
    """Rights on one table, column or routine: reported, never changed. `what` reads `table db.name`."""

    account: Account
    what: str


@dataclass(frozen=True, slots=True, order=True)
class Definition:
    """A view, trigger, routine or event that runs with the rights of `definer`."""

    definer: Account
    what: str


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What kind of server it is, and what of its settings decides which rights apply.

    With `literal_names` (MySQL's partial_revokes) `\\_` is no escape; with `folds_case`
    (lower_case_table_names) database names are stored in lower case; `galera` is `Primary/Synced` on a
    healthy member of a cluster and empty without one, and `cut_off` says that it has no part in the cluster,
    so that it shows no table to anybody; `follows` says that it replicates from another server. Without
    `shows_source` only a replication that was running was seen.
    """

    kind: Literal["mariadb", "mysql"]
    version: str
    literal_names: bool = False
    skips_name_resolve: bool = False
    read_only: bool = False
    folds_case: bool = False
    sql_mode: str = ""
    activates_roles: bool = False
    follows: bool = False
    galera: str = ""
    cut_off: bool = False
    shows_source: bool = True


@dataclass(frozen=True, slots=True)
class GrantFacts:
    """The accounts, rights and databases of one server at one moment, seen as `me`.

    `definitions` were looked for in `searched` only: it is read before something is dropped.
    """

    server: ServerFacts
    me: Account
    accounts: tuple[AccountFacts, ...] = ()
    rights: tuple[DatabaseRights, ...] = ()
    databases: frozenset[str] = frozenset()
    has_marker: bool = False
    objects: tuple[ObjectRights, ...] = ()
    definitions: tuple[Definition, ...] = ()
    searched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GrantStep:
    """One statement to come. A password is meant by naming the account's user, and is not in here.

    With `like`, the stored digest of that account is copied: salted digests of one password differ, and
    only equal bytes show that two accounts have the same one.
    """

    kind: StepKind
    site: str = ""
    account: Account | None = None
    database: str = ""
    pattern: str = ""
    privileges: tuple[str, ...] = ()
    renamed_to: Account | None = None
    like: Account | None = None

    @property
    def removes(self) -> bool:
        return self.kind in REMOVALS


def _readable(uri: str, length: int) -> str:
    """Return the begin of `uri` that, as an escaped grant pattern, has at most `length` characters."""
    words = re.sub(r"[^a-z0-9]+", "_", uri).strip("_")
    while len(escape_pattern(words)) > length:
        words = words[:-1].rstrip("_")
    return words


def _short_digest(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:8]


def database_name(uri: str) -> str:
    """Return the database name of a site: readable, never that of another site, and short enough.

    MariaDB refuses a grant on a pattern of more than 64 characters (error 1102), escapes counted.
    The digest keeps `a-b.org` and `a.b.org` apart, and `site_` keeps the name out of `test_%`, on which
    MariaDB gives everybody everything by default.
    """
    return f"site_{_readable(uri, 47)}_{_short_digest(uri)}"


def user_name(uri: str) -> str:
    """Return the user name of a site: at most 32 characters, which is MySQL's limit."""
    return f"site_{_readable(uri, 18)}_{_short_digest(uri)}"
