"""The SQL of a grant step. The only place where a name becomes part of a statement."""

from __future__ import annotations

from tasks.grants.values import MARKER_ROLE, Account, GrantStep

# Shown where the password would be; it is bound as a parameter, by apply_step, and nowhere else.
_PLACE = "%s"


def quote_identifier(name: str) -> str:
    """Quote a database, user, host or role name. Backquotes mean the same under every sql_mode."""
    return "`" + name.replace("`", "``") + "`"


def quote_account(account: Account) -> str:
    return f"{quote_identifier(account.user)}@{quote_identifier(account.host)}"


def _bindable(quoted: str) -> str:
    # pymysql substitutes parameters with the % operator.
    return quoted.replace("%", "%%")


def statement_of(step: GrantStep) -> str:
    """Return the statement of `step` for pymysql: `%%` is a percent sign, `%s` the account's password."""
    account = _bindable(quote_account(step.account)) if step.account else ""
    renamed = _bindable(quote_account(step.renamed_to)) if step.renamed_to else ""
    database = _bindable(quote_identifier(step.database))
    pattern = _bindable(quote_identifier(step.pattern))
    rights = ", ".join(step.privileges)
    role = quote_identifier(MARKER_ROLE)
    return {
        "create role": f"CREATE ROLE IF NOT EXISTS {role}",
        "clear": f"DROP USER IF EXISTS {account}",
        "create account": f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {_PLACE}",
        "mark": f"GRANT {role} TO {account}",
        "cut in": f"RENAME USER {account} TO {renamed}",
        "alter": f"ALTER USER {account} IDENTIFIED BY {_PLACE}",
        "grant": f"GRANT {rights} ON {pattern}.* TO {account}",
        "create database": f"CREATE DATABASE IF NOT EXISTS {database} "
        "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        "revoke": f"REVOKE {rights} ON {pattern}.* FROM {account}",
        "drop database": f"DROP DATABASE IF EXISTS {database}",
        "drop account": f"DROP USER IF EXISTS {account}",
    }[step.kind]


def needs_password(step: GrantStep) -> bool:
    return step.kind in {"create account", "alter"}


def shown(step: GrantStep) -> str:
    """Return the statement as an operator reads it, without the password."""
    values = ("'<password>'",) if needs_password(step) else ()
    return statement_of(step) % values
