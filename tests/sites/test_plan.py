"""What a site needs, planned from what its nodes have."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.sites.install import new_password, new_seed
from tasks.sites.plan import (
    OWNERS,
    Credentials,
    PathFacts,
    Site,
    SiteFacts,
    SitePlan,
    choose_seed,
    data_directories,
    link_path,
    plan_site,
    render_settings,
)
from tasks.sites.profiles import Profile, load_profile, overlay_files, profile_names
from tasks.sites.vhost import vhost_for
from tasks.web.vhost import DataMount, check_vhost

SITE = Site("www.example.org", "blog", aliases=("example.org",), title="Example")
SEED = SecretStr("0123456789abcdef" * 4)
CREDENTIALS = Credentials("10.0.0.9", 3306, "db", "user", SecretStr("hidden-password"))
PROFILES = [load_profile(name) for name in profile_names()]


def obey(
    facts: dict[str, SiteFacts], profile: Profile, plan: SitePlan, seed: SecretStr
) -> dict[str, SiteFacts]:
    for step in plan.steps:
        there = facts[step.host]
        path, *rest = step.detail.split(" ")
        if step.kind == "link site":
            there = replace(there, link=rest[-1])
        else:
            kind = "directory" if step.kind == "create data" else "regular file"
            there = replace(there, paths={**there.paths, path: PathFacts(kind, rest[0], rest[1])})
        if step.kind == "write settings":
            digest = hashlib.sha256(render_settings(profile, seed).encode()).hexdigest()
            there = replace(there, settings_digest=digest, seed=seed)
        facts = {**facts, step.host: there}
    return facts


def test_a_new_wordpress_site() -> None:
    plan = plan_site(SITE, load_profile("wordpress"), {"web1": SiteFacts()}, SEED)
    assert str(plan).splitlines() == [
        "www.example.org",
        "  web1: create data (/var/aegir/sites/www.example.org aegir:www-data 2750)",
        "  web1: create data (/var/aegir/sites/www.example.org/files aegir:www-data 2770)",
        "  web1: create data (/var/aegir/sites/www.example.org/private aegir:www-data 2770)",
        "  web1: write settings (/var/aegir/sites/www.example.org/settings.php aegir:www-data 440)",
    ]
    assert SEED.get_secret_value() not in repr(plan) + str(plan.as_rows())


@settings(deadline=None)
@given(st.sampled_from(PROFILES), st.sets(st.sampled_from(["web1", "web2", "web3"]), min_size=1), st.data())
def test_one_run_converges_from_any_part_of_another(
    profile: Profile, hosts: set[str], data: st.DataObject
) -> None:
    nothing = {host: SiteFacts() for host in hosts}
    plan = plan_site(SITE, profile, nothing, SEED)
    cut = data.draw(st.integers(0, len(plan.steps)))
    facts = obey(nothing, profile, replace(plan, steps=plan.steps[:cut]), SEED)
    seed = choose_seed(facts, new_seed() if not any(f.seed for f in facts.values()) else SEED)
    end = obey(facts, profile, plan_site(SITE, profile, facts, seed), seed)
    assert not plan_site(SITE, profile, end, choose_seed(end, new_seed()) if profile.settings else seed)


def test_a_seed_is_kept_and_never_guessed() -> None:
    other = SecretStr("f" * 64)
    assert choose_seed({"web1": SiteFacts(), "web2": SiteFacts(seed=SEED)}, other) == SEED
    assert choose_seed({"web1": SiteFacts()}, other) == other
    with pytest.raises(PlanRefused, match="web1, web2 have different seeds") as refused:
        choose_seed({"web1": SiteFacts(seed=SEED), "web2": SiteFacts(seed=other)}, other)
    assert "f" * 64 not in str(refused.value)


def test_what_is_in_the_way_is_refused() -> None:
    path = data_directories(SITE, PROFILES[0])[0][0]
    blocked = SiteFacts(paths={path: PathFacts("symbolic link", OWNERS, "777")})
    with pytest.raises(PlanRefused, match="is a symbolic link"):
        plan_site(SITE, PROFILES[0], {"web1": blocked}, SEED)
    with pytest.raises(PlanRefused, match="is part of the code"):
        plan_site(SITE, load_profile("drupal"), {"web1": SiteFacts(link="")}, SEED)


@pytest.mark.parametrize(
    "values",
    [
        {"uri": "../etc"},
        {"uri": "a b.org"},
        {"uri": "A.org"},
        {"uri": "$(id).org"},
        {"platform": "../x"},
        {"docroot": "../../etc"},
    ],
)
def test_a_site_cannot_lead_anywhere_else(values: dict[str, str]) -> None:
    with pytest.raises(PlanRefused):
        Site(**{"uri": "a.org", "platform": "p", **values})


def test_drupal_is_linked_into_the_release_that_is_meant() -> None:
    site = replace(SITE, docroot="web")
    drupal = load_profile("drupal")
    assert link_path(site, drupal) == "/var/aegir/platforms/blog/current/web/sites/www.example.org"
    assert link_path(site, drupal, "/x/releases/1") == "/x/releases/1/web/sites/www.example.org"


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
def test_every_profile_makes_a_vhost_that_holds_the_password_as_a_secret(profile: Profile) -> None:
    vhost = check_vhost(vhost_for(SITE, profile, CREDENTIALS))
    assert "hidden-password" not in repr(vhost)
    environment = dict(vhost.environment)
    assert environment["PACKMASTER_SITE"] == SITE.uri
    assert environment["DB_PASSWORD"] == CREDENTIALS.password
    assert vhost.docroot == "/var/aegir/platforms/blog/current"


def test_uploads_are_served_from_the_data_directory() -> None:
    vhost = vhost_for(SITE, load_profile("wordpress"), CREDENTIALS)
    assert vhost.data == (DataMount("/wp-content/uploads/", "/var/aegir/sites/www.example.org/files"),)
    drupal = vhost_for(SITE, load_profile("drupal"), CREDENTIALS)
    # Longer prefixes win: of all that `sites` leads to, these and the own files are left.
    assert drupal.denied == ("/sites/",)
    assert drupal.php_denied == ("/sites/all/", "/sites/default/")


def test_overlays_are_found_under_the_document_root() -> None:
    assert list(overlay_files(load_profile("wordpress"), "web")) == [
        "web/wp-config.php",
        "web/wp-content/mu-plugins/packmaster.php",
    ]
    assert list(overlay_files(load_profile("drupal"))) == ["sites/sites.php"]
    assert overlay_files(load_profile("php")) == {}


@pytest.mark.parametrize("profile", [p for p in PROFILES if p.settings], ids=lambda p: p.name)
def test_settings_hold_the_seed_and_no_password(profile: Profile) -> None:
    text = render_settings(profile, SEED)
    assert f"'PACKMASTER_SEED', '{SEED.get_secret_value()}'" in text
    assert "@SEED@" not in text
    with pytest.raises(PlanRefused):
        render_settings(profile, SecretStr("'; evil(); '"))


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PlanRefused, match="Use one of drupal, php, wordpress"):
        load_profile("joomla")


def test_passwords_are_long_plain_and_never_the_same() -> None:
    passwords = {new_password().get_secret_value() for _ in range(100)}
    assert len(passwords) == 100
    assert all(len(p) == 32 and p.isalnum() and p.isascii() for p in passwords)
