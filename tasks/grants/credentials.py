"""The passwords that a run sets, and what MySQL is to store of them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr

from tasks.grants.digests import CACHING_SHA2, sha2_digest
from tasks.grants.statements import Secret
from tasks.grants.values import Desired, GrantFacts, GrantStep, SiteAccess


class Secrets:
    """Gives a step what it sets the password to; never prints anything.

    On MySQL all accounts of a site get the very same bytes: those of the account that the step names, or one
    new digest for all of them. MariaDB's digest is not salted, so there every account gets the password.
    """

    def __init__(self, desired: Sequence[Desired], actual: GrantFacts) -> None:
        self._passwords = {a.user: a.password for a in desired if isinstance(a, SiteAccess)}
        self._salted = actual.server.kind == "mysql"
        users = set(self._passwords)
        self._stored = {
            there.account: Secret(there.digest, there.plugin)
            for there in actual.accounts
            if self._salted and there.account.user in users
        }
        self._new: dict[str, Secret] = {}

    def __repr__(self) -> str:
        return "Secrets()"

    def of(self, step: GrantStep) -> Secret:
        """Return what `step`, which is about an account, sets the password to."""
        user = step.account.user if step.account else ""
        password: SecretStr = self._passwords[user]
        if not self._salted:
            return Secret(password)
        if step.like in self._stored:
            return self._stored[step.like]
        if user not in self._new:
            self._new[user] = Secret(sha2_digest(password), CACHING_SHA2)
        return self._new[user]
