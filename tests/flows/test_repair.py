"""Which release a platform's servers have to have, by what they say that they have."""

import pytest

from flows.repair import choose_content, find_unchanged
from tasks.code.facts import CodeFacts, Release

OLD, NEW = "20260101000000-aaaaaaaaaaaa", "20260102000000-bbbbbbbbbbbb"
GOOD, BAD = "a" * 64, "b" * 64


def running(name: str = "", content: str = "", *, changed: bool = False) -> CodeFacts:
    seen = "other" if changed else "listing"
    return CodeFacts((Release(name, content, "listing", seen),) if name else (), name or None)


@pytest.mark.parametrize(
    ("servers", "wanted"),
    [
        ([running(OLD, GOOD), running(OLD, GOOD), running(NEW, BAD)], GOOD),
        ([running(OLD, GOOD, changed=True), running(OLD, GOOD, changed=True), running(NEW, BAD)], GOOD),
        ([running(OLD, GOOD), running()], GOOD),
        ([running(OLD, GOOD), running(NEW, GOOD)], GOOD),
        ([running(OLD, GOOD), running(NEW, BAD)], None),
        ([running(), running()], ""),
        # What is current and was never verified is no release that anybody was given.
        ([running(OLD, GOOD), running(NEW, "")], GOOD),
    ],
    ids=["most", "most, changed", "one lost it", "two names", "a tie", "none", "unverified"],
)
def test_the_release_to_have_is_what_most_were_given(servers: list[CodeFacts], wanted: str | None) -> None:
    assert choose_content({f"web{n}": facts for n, facts in enumerate(servers)}) == wanted


def test_a_changed_release_is_no_model_for_others() -> None:
    facts = {"web1": running(OLD, GOOD), "web2": running(OLD, GOOD, changed=True), "web3": running()}
    assert find_unchanged(facts) == {"web1": GOOD}
