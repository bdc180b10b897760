"""The overview says in words what needs a person, and draws who stands where."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.overview import (
    OLD,
    Comparison,
    Group,
    Machine,
    PlatformView,
    Releases,
    draw_group,
    read_differences,
    read_releases,
    render_page,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 23, 2, 31, tzinfo=UTC)

PACK = Group(
    "pack",
    "farm",
    (
        Machine("web1", "master", "apache", "OK"),
        Machine("web2", "slave", "nginx", "STALE"),
        Machine("nfs1", "nfs server", "", "OK"),
    ),
    share="farm-share",
    watched=NOW - timedelta(minutes=1),
)
SAME = Releases({"web1": "r2", "web2": "r2"}, "2026-11-23 02:30 UTC")


def test_releases_are_read_from_what_a_run_published() -> None:
    rows = [
        {"host": "web1", "step": "switch", "result": "changed", "detail": "20261123-1"},
        {"host": "web2", "step": "verify release", "result": "unchanged", "detail": "20261123-1 is as it was deployed"},  # noqa: E501
        {"host": "web3", "step": "stage", "result": "failed", "detail": "disk full"},
        {"host": "web3", "step": "make site", "result": "unchanged", "detail": "blog.example"},
    ]  # fmt: skip
    found = read_releases(rows, "today")
    assert found == Releases({"web1": "20261123-1", "web2": "20261123-1"}, "today", ("web3: stage",))
    assert str(found) == "20261123-1"
    assert str(Releases({"a": "r1", "b": "r2", "c": "r1"})) == "r1 on a, c; r2 on b"


def test_what_needs_a_look_comes_first() -> None:
    mixed = PlatformView("blog", "farm", "wordpress", Releases({"a": "r1", "b": "r2"}, "", ("b: switch",)))
    page = render_page([PACK], [mixed], NOW)
    look, _, rest = page.partition("## Pack farm")
    assert "* **web2** (pack farm): STALE, see `share-farm-share`" in look
    assert "* **blog**: failed in its last run: b: switch" in look
    assert "* **blog**: not one release everywhere: r1 on a; r2 on b" in look
    assert "data:image/svg+xml;base64," in rest


def test_a_quiet_morning_says_so() -> None:
    sites = tuple(f"s{n}.example" for n in range(14))
    blog = PlatformView("blog", "web", "php", SAME, sites, disabled=("s1.example",))
    calm = Comparison("drift-everything", NIGHT)
    page = render_page([Group("cluster", "web", (Machine("web1", "member", "apache"),))], [blog], NOW, [calm])
    assert "Nothing needs a look." in page
    assert "made 2026-11-23 08:00 UTC" in page
    assert "Compared with what is registered: `drift-everything` as of 2026-11-23 02:31 UTC." in page
    assert "nothing yet (resync-all does that)" in render_page([], [], NOW)
    assert "| blog | php | r2 | 2026-11-23 02:30 UTC | s0.example, s1.example (disabled)," in page
    assert "and 2 more |" in page
    assert "No cluster and no pack" in render_page([], [], NOW)


def test_a_night_full_of_drift_needs_a_look() -> None:
    left = tuple(f"web1: code: difference {n}" for n in range(7))
    night = Comparison("drift-everything", NIGHT, left, ("pack farm",))
    look, _, _ = render_page([], [], NOW, [night]).partition("Compared with")
    assert "Nothing needs a look." not in look
    assert "* **Not known** of pack farm, as of 2026-11-23 02:31 UTC, see `drift-everything`" in look
    assert "* **7 difference(s)** from what is registered, as of 2026-11-23 02:31 UTC" in look
    assert "    * web1: code: difference 4" in look
    assert "difference 5" not in look
    assert "    * and 2 more" in look


def test_a_night_that_did_not_come_needs_a_look() -> None:
    before = Comparison("drift-grants-of-all-sites", NOW - timedelta(days=2))
    page = render_page([], [], NOW, [before])
    assert "* **Not compared** last night: `drift-grants-of-all-sites` is of 2026-11-21 08:00 UTC" in page


def test_what_was_repaired_is_no_trouble_any_more() -> None:
    found = {"of": "platform blog", "subject": "code", "host": "web1", "difference": "is spoiled"}
    rows = [
        {**found, "result": "reported"},
        {**found, "result": "repaired"},
        {**found, "result": "not repaired: the run failed"},
        {"result": "nothing differs"},
    ]
    assert read_differences(rows) == ("web1: code: is spoiled", "web1: code: is spoiled")
    grants = [
        {"kind": "MISSING", "site": "a", "account": "u@h", "detail": "there is no such account"},
        {"kind": "ADOPTION_REQUIRED", "site": "b", "account": "u@h", "detail": "somebody else made it"},
        {"kind": "EXTRA", "site": "-", "account": "u@h", "detail": "carries our mark"},
    ]
    told = read_differences(grants)
    assert told[0] == "a: MISSING: u@h there is no such account"
    assert read_differences(grants, repaired=True) == told[1:]


def test_a_share_that_nobody_watches_does_not_look_well() -> None:
    silent = replace(PACK, machines=(Machine("web1", "master", "apache", OLD),), watched=NIGHT)
    page = render_page([silent], [], NOW)
    told = "was last 2026-11-23 02:31 UTC looked at, check-share does it each minute"
    assert f"* **share farm-share** (pack farm): {told}" in page
    assert "Nothing needs a look." not in page
    assert "the table `share-farm-share`, as of 2026-11-23 02:31 UTC." in page
    assert 'stroke="#b42318"' in draw_group(silent)
    assert "was never looked at" in render_page([replace(silent, watched=None)], [], NOW)
    fresh = replace(PACK, machines=PACK.machines[:1], watched=NOW - timedelta(minutes=9))
    assert "Nothing needs a look." in render_page([fresh], [], NOW)


def test_a_standby_says_how_old_its_copy_is() -> None:
    behind = Machine("nfs2", "standby", "", "BEHIND", "its copy is 4000 s old")
    page = render_page([replace(PACK, machines=(behind,))], [], NOW)
    assert "* **nfs2** (pack farm): BEHIND: its copy is 4000 s old, see `standby-farm-share`" in page
    well = replace(behind, verdict="OK", detail="its copy is 90 s old")
    page = render_page([replace(PACK, machines=(well,))], [], NOW)
    assert "Nothing needs a look." in page
    assert "Standby nfs2 is OK: its copy is 90 s old (`standby-farm-share`)." in page


def test_the_picture_is_svg_and_names_everybody() -> None:
    picture = ET.fromstring(draw_group(PACK))
    words = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"web1", "web2", "nfs1", "slave: STALE"} <= set(words)
    many = Group("cluster", "<wide> & co", tuple(Machine(f"n{n}", "member", "nginx") for n in range(20)))
    wide = ET.fromstring(draw_group(many))
    assert int(wide.attrib["width"]) < 1000
    assert sum(1 for _ in wide.iter("{http://www.w3.org/2000/svg}rect")) == 20
