"""The SQL of a grant step. The only place where a name becomes part of a statement."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from tasks.grants.values import MARKER_ROLE, Account, GrantStep


def quote_identifier(name: str) -> str:
    """Quote a database, user, host or role name. Backquotes mean the same under every sql_mode."""
    return "`" + name.replace("`", "``") + "`"


def quote_account(account: Account) -> str:
    return f"{quote_identifier(account.user)}@{quote_identifier(account.host)}"


def _bindable(quoted: str) -> str:
    # pymysql substitutes parameters with the % operator.
    return quoted.replace("%", "%%")


@dataclass(frozen=True, slots=True)
class Secret:
    """What a statement sets a password to: the password itself, or with `plugin` what is stored of it."""

    value: SecretStr
    plugin: str = ""


def statement_of(step: GrantStep, secret: Secret | None = None) -> str:
    """Return the statement of `step` for pymysql: `%%` is a percent sign, `%s` the account's password.

    A stored digest is not bound but written as hexadecimal digits, for MySQL takes no other bytes there:
    what is returned with one is itself a secret.
    """
    account = _bindable(quote_account(step.account)) if step.account else ""
    renamed = _bindable(quote_account(step.renamed_to)) if step.renamed_to else ""
    database = _bindable(quote_identifier(step.database))
    pattern = _bindable(quote_identifier(step.pattern))
    rights = ", ".join(step.privileges)
    role = quote_identifier(MARKER_ROLE)
    identified = _identified(secret)
    return {
        "create role": f"CREATE ROLE IF NOT EXISTS {role}",
        "clear": f"DROP USER IF EXISTS {account}",
        "create account": f"CREATE USER IF NOT EXISTS {account} {identified}",
        "mark": f"GRANT {role} TO {account}",
        "cut in": f"RENAME USER {account} TO {renamed}",
        "alter": f"ALTER USER {account} {identified}",
        "unlock": f"ALTER USER {account} ACCOUNT UNLOCK",
        "grant": f"GRANT {rights} ON {pattern}.* TO {account}",
        "create database": f"CREATE DATABASE IF NOT EXISTS {database} "
        "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        "revoke": f"REVOKE {rights} ON {pattern}.* FROM {account}",
        "drop database": f"DROP DATABASE IF EXISTS {database}",
        "lock": f"ALTER USER {account} ACCOUNT LOCK",
        "drop account": f"DROP USER IF EXISTS {account}",
    }[step.kind]


def _identified(secret: Secret | None) -> str:
    if secret is None or not secret.plugin:
        return "IDENTIFIED BY %s"
    digest = secret.value.get_secret_value().encode().hex().upper()
    return f"IDENTIFIED WITH {quote_identifier(secret.plugin)} AS 0x{digest}"


def needs_password(step: GrantStep) -> bool:
    return step.kind in {"create account", "alter"}


def shown(step: GrantStep) -> str:
    """Return the statement as an operator reads it, without the password."""
    if not needs_password(step):
        return statement_of(step) % ()
    return statement_of(step) % (f"<as {step.like}>" if step.like else "'<password>'",)
