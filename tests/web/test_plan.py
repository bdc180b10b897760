"""The plan of one host: what changes, what is kept, what is drift, and that it converges."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.fleet import ServerKind
from tasks.web.plan import WebPlan, find_name_conflicts, plan_web
from tasks.web.render import DEFAULT_FILE, render_vhost
from tasks.web.state import ConfigFile, ServerConfig
from tasks.web.vhost import Vhost

FRESH = ServerConfig("web1", "000000000000", None, {}, ("000000000000",))
SITES = ("a.org", "b.org", "c.org")


def vhost(site: str, platform: str = "demo", **more: object) -> Vhost:
    return replace(Vhost(site, platform, f"/var/aegir/platforms/{platform}/current"), **more)  # type: ignore[arg-type] # a test's shorthand


def installed(plan: WebPlan, before: ServerConfig, desired: dict[str, Vhost | None]) -> ServerConfig:
    """What a host has after the plan was applied."""
    recorded = dict(plan.recorded)
    files = {}
    for name, digest in plan.digests:
        site = name.removesuffix(".conf")
        mine = desired.get(site)
        if mine is not None:
            owner = ConfigFile(name, digest, recorded.get(name), site, mine.platform, mine.names)
        elif name in before.files:
            owner = replace(before.files[name], digest=digest, recorded=recorded.get(name))
        else:
            owner = ConfigFile(name, digest, recorded.get(name))
        files[name] = owner
    generations = (plan.generation, *(g for g in before.generations if g not in plan.prune))
    return ServerConfig(before.host, plan.generation, plan.generation, files, generations)


def alter(facts: ServerConfig, name: str, text: str = "by hand") -> ServerConfig:
    file = facts.files.get(name, ConfigFile(name, ""))
    changed = replace(file, digest=hashlib.sha256(text.encode()).hexdigest())
    return replace(facts, files={**facts.files, name: changed})


@pytest.fixture
def live() -> ServerConfig:
    desired: dict[str, Vhost | None] = {"a.org": vhost("a.org"), "b.org": vhost("b.org", "other")}
    return installed(plan_web(desired, FRESH, "apache"), FRESH, desired)


def actions(plan: WebPlan) -> list[tuple[str, str]]:
    return [(step.action, step.name) for step in plan.steps]


def test_first_site() -> None:
    plan = plan_web({"a.org": vhost("a.org")}, FRESH, "nginx")
    assert plan
    assert actions(plan) == [("add", "a.org.conf")]
    assert plan.last_good == "000000000000"
    assert "add a.org.conf" in str(plan)


def test_second_run_changes_nothing(live: ServerConfig) -> None:
    plan = plan_web({"a.org": vhost("a.org")}, live, "apache")
    assert not plan
    assert plan.as_rows() == []
    assert "nothing to do" in str(plan)


def test_other_sites_are_kept(live: ServerConfig) -> None:
    plan = plan_web({"c.org": vhost("c.org")}, live, "apache")
    assert actions(plan) == [("add", "c.org.conf")]
    assert plan.kept == ("a.org.conf", "b.org.conf")


def test_remove(live: ServerConfig) -> None:
    plan = plan_web({"a.org": None}, live, "apache")
    assert actions(plan) == [("remove", "a.org.conf")]
    assert "a.org.conf" not in dict(plan.digests)
    assert not plan_web({"nobody.org": None}, live, "apache")


def test_change(live: ServerConfig) -> None:
    plan = plan_web({"a.org": vhost("a.org", aliases=("www.a.org",))}, live, "apache")
    assert actions(plan) == [("change", "a.org.conf")]


def test_a_kernel_that_got_or_lost_ipv6_is_another_generation_for_nginx(live: ServerConfig) -> None:
    desired: dict[str, Vhost | None] = {"a.org": vhost("a.org"), "b.org": vhost("b.org", "other")}
    four = installed(plan_web(desired, FRESH, "nginx"), FRESH, desired)
    six = replace(four, ipv6=True)
    assert actions(plan_web(desired, six, "nginx")) == [("change", "a.org.conf"), ("change", "b.org.conf")]
    there = installed(plan_web(desired, six, "nginx"), six, desired)
    assert plan_web(desired, there, "nginx").generation == four.live
    assert not plan_web(desired, replace(there, ipv6=True), "nginx")
    # Also where there is no site: the catch-all listens, too.
    empty = {plan_web({}, replace(FRESH, ipv6=ipv6), "nginx").generation for ipv6 in (False, True)}
    assert len(empty) == 2
    assert not plan_web({"a.org": vhost("a.org")}, replace(live, ipv6=True), "apache")


def test_altered_vhost_of_a_desired_site_is_repaired(live: ServerConfig) -> None:
    plan = plan_web({"a.org": vhost("a.org")}, alter(live, "a.org.conf"), "apache")
    assert actions(plan) == [("repair", "a.org.conf")]
    # The live directory was altered, so its name is spent.
    assert plan.generation == f"{live.live}-r1"
    again = alter(installed(plan, live, {"a.org": vhost("a.org")}), "a.org.conf")
    assert plan_web({"a.org": vhost("a.org")}, again, "apache").generation == f"{live.live}-r2"


def test_altered_vhost_of_another_site_is_reported_until_it_is_repaired(live: ServerConfig) -> None:
    desired: dict[str, Vhost | None] = {"a.org": vhost("a.org")}
    altered = alter(live, "b.org.conf")
    plan = plan_web(desired, altered, "apache")
    assert actions(plan) == [("altered", "b.org.conf")]
    later = plan_web(desired, installed(plan, altered, desired), "apache")
    assert not later
    assert later.drift == plan.drift
    assert later.as_rows()[0]["action"] == "altered"


def test_unknown_file_is_carried_over_and_reported(live: ServerConfig) -> None:
    desired: dict[str, Vhost | None] = {"a.org": vhost("a.org")}
    found = alter(live, "mine.conf")
    plan = plan_web(desired, found, "apache")
    assert actions(plan) == [("unknown", "mine.conf")]
    assert "mine.conf" in plan.kept
    later = plan_web(desired, installed(plan, found, desired), "apache")
    assert not later
    assert later.drift == plan.drift


def test_altered_catch_all_is_repaired(live: ServerConfig) -> None:
    plan = plan_web({}, alter(live, DEFAULT_FILE), "apache")
    assert actions(plan) == [("repair", DEFAULT_FILE)]


def test_killed_between_swap_and_reload(live: ServerConfig) -> None:
    killed = replace(live, loaded="000000000000")
    plan = plan_web({"a.org": vhost("a.org")}, killed, "apache")
    assert plan
    assert plan.generation == live.live
    assert plan.last_good == "000000000000"
    assert plan.as_rows()[-1]["action"] == "reload"
    assert plan_web({}, replace(live, loaded=None), "apache")


def test_what_is_needed_is_never_pruned(live: ServerConfig) -> None:
    old = tuple(f"{n:012x}" for n in range(1, 9))
    crowded = replace(live, loaded=old[5], generations=(str(live.live), *old))
    plan = plan_web({"c.org": vhost("c.org")}, crowded, "apache")
    assert not {plan.generation, crowded.live, crowded.loaded, *old[:2]} & set(plan.prune)
    assert set(plan.prune) == {*old[2:5], *old[6:]}


@pytest.mark.parametrize(
    "wanted",
    [
        vhost("www.a.org"),
        vhost("c.org", aliases=("www.a.org",)),
        vhost("c.org", redirects=("www.a.org",)),
    ],
)
def test_name_conflicts(wanted: Vhost) -> None:
    desired: dict[str, Vhost | None] = {"a.org": vhost("a.org", redirects=("www.a.org",))}
    facts = installed(plan_web(desired, FRESH, "nginx"), FRESH, desired)
    (conflict,) = find_name_conflicts(facts, wanted)
    assert str(conflict) == "www.a.org already belongs to a.org on web1"
    assert find_name_conflicts(facts, vhost("a.org", aliases=("www.a.org",))) == []
    assert facts.sites_of("demo") == ("a.org",)
    assert facts.sites_of("other") == ()


def test_no_secret_is_shown(full: Vhost) -> None:
    plan = plan_web({full.site: full}, FRESH, "nginx")
    assert "packmaster_dollar" in dict(plan.contents)["example.org.conf"].get_secret_value()
    for shown in (str(plan), repr(plan), str(plan.as_rows())):
        assert "packmaster_dollar" not in shown


def test_routes(vhosts: dict[str, Vhost]) -> None:
    plan = plan_web({v.site: v for v in vhosts.values()}, FRESH, "apache")
    routes = dict(plan.routes)
    assert routes["www.example.org"] is None
    assert routes["old.example.org"] == 301
    assert routes["off.example.org"] == routes["old-off.example.org"] == 503


vhosts_of = {
    site: st.none()
    | st.builds(
        vhost,
        st.just(site),
        st.sampled_from(["demo", "other"]),
        aliases=st.sampled_from([(), (f"www.{site}",)]),
        enabled=st.booleans(),
    )
    for site in SITES
}
desired_state = st.fixed_dictionaries({}, optional=vhosts_of)
names_by_hand = st.lists(st.sampled_from([*(f"{site}.conf" for site in SITES), "mine.conf", DEFAULT_FILE]))


@given(desired_state, desired_state, names_by_hand, st.sampled_from(["apache", "nginx"]))
def test_converges(
    before: dict[str, Vhost | None],
    desired: dict[str, Vhost | None],
    by_hand: list[str],
    kind: ServerKind,
) -> None:
    facts = installed(plan_web(before, FRESH, kind), FRESH, before)
    for name in by_hand:
        facts = alter(facts, name)
    plan = plan_web(desired, facts, kind)
    after = installed(plan, facts, desired)
    assert not plan_web(desired, after, kind)
    for site, wanted in desired.items():
        if wanted is None:
            assert f"{site}.conf" not in after.files
        else:
            digest = hashlib.sha256(render_vhost(wanted, kind)).hexdigest()
            assert after.files[f"{site}.conf"].digest == digest
    untouched = {f"{site}.conf" for site in SITES if site not in desired} | {"mine.conf"}
    for name in untouched & facts.files.keys():
        assert after.files[name].digest == facts.files[name].digest
    assert facts.live == plan.generation or plan.generation not in {facts.live}


@given(desired_state, st.sampled_from(["apache", "nginx"]))
def test_the_same_wish_is_the_same_generation(desired: dict[str, Vhost | None], kind: ServerKind) -> None:
    backwards = dict(reversed(desired.items()))
    assert plan_web(desired, FRESH, kind) == plan_web(backwards, FRESH, kind)
