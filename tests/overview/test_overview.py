"""The overview says in words what needs a person, and draws who stands where."""

import xml.etree.ElementTree as ET

from tasks.overview import Group, Machine, PlatformView, Releases, draw_group, read_releases, render_page

PACK = Group(
    "pack",
    "farm",
    (
        Machine("web1", "master", "apache", "OK"),
        Machine("web2", "slave", "nginx", "STALE"),
        Machine("nfs1", "nfs server", "", "OK"),
    ),
    share="farm-share",
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
    page = render_page([PACK], [mixed], "now")
    look, _, rest = page.partition("## Pack farm")
    assert "* **web2** (pack farm): STALE, see `share-farm-share`" in look
    assert "* **blog**: failed in its last run: b: switch" in look
    assert "* **blog**: not one release everywhere: r1 on a; r2 on b" in look
    assert "data:image/svg+xml;base64," in rest


def test_a_quiet_morning_says_so() -> None:
    sites = tuple(f"s{n}.example" for n in range(14))
    blog = PlatformView("blog", "web", "php", SAME, sites, disabled=("s1.example",))
    page = render_page([Group("cluster", "web", (Machine("web1", "member", "apache"),))], [blog], "now")
    assert "Nothing needs a look." in page
    assert "| blog | php | r2 | 2026-11-23 02:30 UTC | s0.example, s1.example (disabled)," in page
    assert "and 2 more |" in page
    assert "No cluster and no pack" in render_page([], [], "now")


def test_the_picture_is_svg_and_names_everybody() -> None:
    picture = ET.fromstring(draw_group(PACK))
    words = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"web1", "web2", "nfs1", "slave: STALE"} <= set(words)
    many = Group("cluster", "<wide> & co", tuple(Machine(f"n{n}", "member", "nginx") for n in range(20)))
    wide = ET.fromstring(draw_group(many))
    assert int(wide.attrib["width"]) < 1000
    assert sum(1 for _ in wide.iter("{http://www.w3.org/2000/svg}rect")) == 20
