"""What the script prints, read."""

import pytest

from tasks.errors import PackmasterError
from tasks.web.facts import parse_web_facts
from tasks.web.state import ConfigFile, ServerConfig


def printed(*words: str) -> bytes:
    return "".join(f"{word}\0" for word in words).encode("utf-8", "surrogateescape")


def test_nothing_there() -> None:
    assert parse_web_facts("web1", b"") == ServerConfig("web1")
    assert parse_web_facts("web1", printed("live", "")) == ServerConfig("web1")
    assert parse_web_facts("web1", printed("ipv6")) == ServerConfig("web1", ipv6=True)


def test_everything() -> None:
    out = printed(
        *("live", "abc"),
        *("generation", "abc"),
        *("generation", "000"),
        *("recorded", "d1  a.org.conf"),
        *("recorded", "d0  b.org.conf"),
        *("file", "./a.org.conf"),
        *("file", "./b.org.conf"),
        *("file", "./my own.conf"),
        *("digest", "d1  ./a.org.conf"),
        *("digest", "d2  ./b.org.conf"),
        *("digest", "d3  ./my own.conf"),
        *(
            "header",
            "./a.org.conf",
            '# packmaster {"site": "a.org", "platform": "p", "names": ["a.org", "x.org"]}',
        ),
        *("header", "./b.org.conf", '# packmaster {"site": "b.org", "platform": "p", "names": ["b.org"]}'),
    )
    facts = parse_web_facts("web1", out, "abc")
    assert facts.live == facts.loaded == "abc"
    assert facts.generations == ("abc", "000")
    assert facts.files == {
        "a.org.conf": ConfigFile("a.org.conf", "d1", "d1", "a.org", "p", ("a.org", "x.org")),
        "b.org.conf": ConfigFile("b.org.conf", "d2", "d0", "b.org", "p", ("b.org",)),
        "my own.conf": ConfigFile("my own.conf", "d3"),
    }
    assert [file.altered for file in facts.files.values()] == [False, True, True]


@pytest.mark.parametrize(
    "header",
    [
        "# packmaster {",
        "# packmaster {}",
        '# packmaster {"site": 1}',
        '# packmaster {"site": "other.org"}',
        "# packmaster []",
    ],
)
def test_a_header_that_is_not_ours(header: str) -> None:
    out = printed("live", "abc", "file", "./a.conf", "digest", "d  ./a.conf", "header", "./a.conf", header)
    assert parse_web_facts("web1", out).files["a.conf"] == ConfigFile("a.conf", "d")


def test_a_header_of_several_lines() -> None:
    lines = [f'# packmaster {{"site": "a", "platform": "p", "names": ["{name}"]}}' for name in ("a", "b")]
    words = [word for line in lines for word in ("header", "./a.conf", line)]
    out = printed("live", "abc", "file", "./a.conf", "digest", "d  ./a.conf", *words)
    assert parse_web_facts("web1", out).files["a.conf"].names == ("a", "b")


def test_name_that_is_no_text() -> None:
    out = printed("live", "abc", "file", "./\udcff.conf", "digest", "d  ./\udcff.conf")
    assert "\udcff.conf" in parse_web_facts("web1", out).files


def test_unreadable_file_is_an_error() -> None:
    with pytest.raises(PackmasterError, match=r"live/a\.conf cannot be read"):
        parse_web_facts("web1", printed("live", "abc", "file", "./a.conf"))
    with pytest.raises(PackmasterError, match="unreadable facts"):
        parse_web_facts("web1", printed("what"))
