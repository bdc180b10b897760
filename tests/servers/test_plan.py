"""From what is there to what is asked for; and when to keep the hands off."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import PlanRefused
from tasks.fleet import ServerKind
from tasks.servers import managed
from tasks.servers.plan import ServerPlan, plan_fleet, plan_server
from tasks.servers.state import (
    PHP_SOCKET,
    WEB_SERVICE,
    Account,
    DesiredServer,
    PathState,
    ServerFacts,
    ServiceState,
)
from tasks.servers.steps import EnableApache, InstallPackages, RunService, WriteFile
from tests.servers.model import PHP, apply_to

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample"
AEGIR = Account("aegir", 5000, 5000, "/var/aegir", "/bin/bash", frozenset({"aegir", "www-data"}))
KINDS: tuple[ServerKind, ...] = ("apache", "nginx")


def desired(kind: ServerKind = "apache") -> DesiredServer:
    return DesiredServer(kind, KEY)


def bare(**changes: Any) -> ServerFacts:
    return replace(ServerFacts("web1", "Debian GNU/Linux 12 (bookworm)", frozenset({"debian"})), **changes)


def ready(kind: ServerKind) -> ServerFacts:
    facts = bare()
    return apply_to(facts, plan_server(desired(kind), facts))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_server_gets_everything_in_this_order(kind: ServerKind) -> None:
    steps = [str(step) for step in plan_server(desired(kind), bare()).steps]
    order = [
        "install",
        "account",
        "directory /var/aegir ",
        "let aegir",
        "sudoers.d",
        "starts at boot",
        "runs with",
    ]
    found = [next(i for i, step in enumerate(steps) if word in step) for word in order]
    assert found == sorted(found)
    assert steps[-1] == f"{WEB_SERVICE[kind]} runs with this configuration"


@pytest.mark.parametrize("kind", KINDS)
def test_a_ready_server_gets_nothing(kind: ServerKind) -> None:
    plan = plan_server(desired(kind), ready(kind))
    assert not plan
    assert str(plan) == "web1: is ready, nothing to do"
    assert plan.as_rows() == [{"host": "web1", "order": "", "step": "is ready, nothing to do"}]


def test_an_unknown_php_version_is_shown_as_such_and_a_known_one_filled_in() -> None:
    assert "file /etc/php/<version>/fpm/pool.d/packmaster.conf" in str(plan_server(desired(), bare()))
    known = plan_server(desired(), bare(php="8.4", packages=frozenset({"php-fpm"})))
    assert "@PHP@" not in repr(known)
    assert "file /etc/php/8.4/fpm/pool.d/packmaster.conf" in str(known)
    (sudoers,) = (s for s in known.steps if isinstance(s, WriteFile) and s.guard == "sudoers")
    assert "NOPASSWD: /usr/sbin/service php8.4-fpm reload\n" in sudoers.content


def test_what_was_written_and_not_loaded_before_a_kill_is_loaded() -> None:
    facts = ready("apache")
    services = {**facts.services, "apache2": ServiceState(True, True, reload_pending=True)}
    assert plan_server(desired(), replace(facts, services=services)).steps == (RunService("apache2"),)


def test_a_pool_that_does_not_listen_is_loaded() -> None:
    facts = ready("nginx")
    paths = {path: state for path, state in facts.paths.items() if path != PHP_SOCKET}
    steps = plan_server(desired("nginx"), replace(facts, paths=paths)).steps
    assert steps == (RunService("php8.2-fpm", PHP_SOCKET),)


def test_a_changed_file_is_written_and_its_service_told() -> None:
    facts = ready("apache")
    paths = {**facts.paths, managed.APACHE_CONF: PathState("file", "root", "root", 0o644, "0" * 64)}
    steps = plan_server(desired(), replace(facts, paths=paths)).steps
    assert [type(step) for step in steps] == [WriteFile, RunService]


def test_only_missing_modules_are_enabled() -> None:
    facts = replace(ready("apache"), modules=frozenset(managed.APACHE_MODULES) - {"headers"})
    assert plan_server(desired(), facts).steps == (EnableApache("mod", ("headers",)), RunService("apache2"))


def test_other_keys_and_members_are_nobody_elses_business() -> None:
    facts = ready("apache")
    user = replace(AEGIR, groups=AEGIR.groups | {"adm"})
    assert not plan_server(desired(), replace(facts, user=user, keys=facts.keys | {"ssh-rsa AAAAother"}))


BROKEN = {"nginx": ServiceState(config_error='unexpected "}" in /etc/nginx/nginx.conf:3')}
REFUSED: list[tuple[ServerKind, dict[str, Any], list[str]]] = [
    (
        "apache",
        {"families": frozenset({"alpine"}), "system": "Alpine Linux"},
        ["Alpine Linux", "Use a Debian"],
    ),
    ("apache", {"web_group": False}, ["www-data", "dpkg-reconfigure base-passwd"]),
    ("apache", {"user": replace(AEGIR, uid=111, gid=112)}, ["111", "112", "5000", "usermod"]),
    ("apache", {"user": replace(AEGIR, home="/home/aegir")}, ["/home/aegir", "usermod -d /var/aegir"]),
    ("apache", {"group_gid": 998}, ["998", "5000", "groupmod"]),
    ("apache", {"uid_holder": "bob"}, ["UID 5000 belongs to bob", "free on all"]),
    ("apache", {"gid_holder": "staff2"}, ["GID 5000 belongs to staff2"]),
    ("apache", {"listeners": frozenset({"nginx"})}, ["port 80", "nginx", "inventory says apache"]),
    ("nginx", {"listeners": frozenset({"apache2"})}, ["apache2", "inventory says nginx", "disable"]),
    ("apache", {"paths": {"/var/aegir": PathState("link")}}, ["/var/aegir is a link", "mount"]),
    ("apache", {"paths": {managed.LIVE: PathState("directory")}}, ["not a symbolic link"]),
    ("nginx", {"paths": {"/etc/nginx/sites-enabled/default": PathState("file")}}, ["Somebody's own site"]),
    (
        "nginx",
        {"services": BROKEN, "packages": frozenset({"nginx"})},
        ["unexpected", "nginx.conf:3", "Nothing was touched"],
    ),
    ("nginx", {"include": "no http block"}, ["no http block", "include /var/aegir/config/live/*.conf"]),
]


@pytest.mark.parametrize(("kind", "changes", "words"), REFUSED)
def test_a_server_that_would_be_hurt_is_refused(
    kind: ServerKind, changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(PlanRefused) as refused:
        plan_server(desired(kind), bare(**changes))
    for word in words:
        assert word.lower() in str(refused.value).lower()


def test_a_half_installed_package_is_installed_and_not_refused() -> None:
    steps = plan_server(desired("nginx"), bare(services=BROKEN)).steps
    assert isinstance(steps[0], InstallPackages)


@pytest.mark.parametrize("ids", [(0, 5000), (5000, 33), (65534, 5000)])
def test_ids_of_the_system_are_refused(ids: tuple[int, int]) -> None:
    with pytest.raises(PlanRefused, match="outside 1000 to 59999"):
        plan_server(DesiredServer("apache", KEY, *ids), bare())


def test_one_refused_server_does_not_keep_the_others() -> None:
    plan = plan_fleet(
        {
            "web1": (desired(), ready("apache")),
            "web2": (desired(), bare(host="web2", uid_holder="bob")),
            "web3": (desired("nginx"), bare(host="web3")),
        }
    )
    assert [one.host for one in plan.plans] == ["web1", "web3"]
    assert [host for host, _ in plan.refused] == ["web2"]
    assert plan
    assert plan.as_rows()[0]["step"].startswith("refused: on web2 the UID 5000 belongs to bob")
    assert "web2: refused: " in str(plan)


def test_nothing_in_a_plan_is_a_default_that_another_kind_needs() -> None:
    apache, nginx = (str(plan_server(desired(kind), bare())) for kind in KINDS)
    assert "nginx" not in apache
    assert "apache" not in nginx


@given(kind=st.sampled_from(KINDS), done=st.integers(0, 40), data=st.data())
def test_any_start_converges_in_one_plan_also_after_a_kill(
    kind: ServerKind, done: int, data: st.DataObject
) -> None:
    packages = data.draw(st.frozensets(st.sampled_from(managed.packages_for(kind))))
    start = bare(
        packages=packages,
        php=PHP if "php-fpm" in packages else None,
        user=data.draw(st.sampled_from([None, AEGIR, replace(AEGIR, shell="/bin/sh")])),
        modules=data.draw(st.frozensets(st.sampled_from(managed.APACHE_MODULES))),
        stray_policy=data.draw(st.booleans()),
        keys=data.draw(st.frozensets(st.sampled_from([KEY, "ssh-rsa AAAAother"]))),
    )
    plan = plan_server(desired(kind), start)
    killed = apply_to(start, ServerPlan(plan.host, plan.steps[:done]))
    again = plan_server(desired(kind), killed)
    assert not plan_server(desired(kind), apply_to(killed, again))
    assert len(again.steps) <= len(plan.steps)
