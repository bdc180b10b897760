"""The SQL that makes Packmaster's own account."""

import pytest

from tasks.errors import PlanRefused
from tasks.grants.own_account import SITE_DATABASES, probe_sql, setup_sql
from tasks.grants.values import SITE_PRIVILEGES, database_name


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_it_can_give_what_sites_get_and_nothing_else(kind: str) -> None:
    sql = setup_sql("mariadb" if kind == "mariadb" else "mysql", "packmaster", "10.0.0.5")
    assert "ALL" not in sql
    assert "*.* TO `packmaster`@`10.0.0.5` WITH GRANT OPTION" not in sql
    (line,) = (line for line in sql.splitlines() if line.endswith("WITH GRANT OPTION;"))
    assert line == (
        f"GRANT {', '.join(SITE_PRIVILEGES)} ON `site\\_%`.* TO `packmaster`@`10.0.0.5` WITH GRANT OPTION;"
    )


def test_every_sites_database_is_one_it_may_make() -> None:
    assert database_name("a.b").startswith(SITE_DATABASES.removesuffix("%").replace("\\", ""))


def test_names_are_quoted_and_addresses_have_one_spelling() -> None:
    assert "`o``'x`@`fd00::1`" in setup_sql("mysql", "o`'x", "FD00:0::1")


@pytest.mark.parametrize("address", ["%", "10.0.0.%", "10.0.0.0/24", "controller.lan", ""])
def test_it_is_let_in_from_one_address(address: str) -> None:
    with pytest.raises(PlanRefused, match="is not an address"):
        setup_sql("mariadb", "packmaster", address)


@pytest.mark.parametrize("password", ["short", "with-a-'quote'", "with-a-back\\slash", "with-ä-letter", ""])
def test_a_password_is_taken_as_it_is_or_not_at_all(password: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        setup_sql("mysql", "packmaster", "10.0.0.5", password=password)
    assert not password or password not in str(refused.value)


def test_a_probe_account_comes_from_one_network_and_has_nothing() -> None:
    sql = probe_sql("prober", "10.0.0.0/24", password="probe-for-tests")
    assert "`prober`@`10.0.0.0/255.255.255.0`" in sql
    assert "GRANT" not in sql
    assert "`prober`@`fd00::1`" in probe_sql("prober", "FD00::1/128")


@pytest.mark.parametrize("network", ["%", "0.0.0.0/0", "::/0", "fd00::/64", "10.0.0.1/24", "web.lan", ""])
def test_a_probe_account_comes_from_nowhere_else(network: str) -> None:
    with pytest.raises(PlanRefused, match=r"is no network|and from nowhere else"):
        probe_sql("prober", network)
