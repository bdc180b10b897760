"""The lock is what one plain `pip install` takes, and what pyproject.toml promises."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
LOCKED = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in LINES if "==" in line}
DIRECT = [
    Requirement(text)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in group
]


def test_the_lock_is_plain_lines_of_name_and_version() -> None:
    """No index, no path, no option: where packages come from is the installing machine's business."""
    assert [
        line for line in LINES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.+!]*", line)
    ] == []


def test_the_lock_is_sorted_and_names_nothing_twice() -> None:
    names = [line.split("==")[0] for line in LINES]
    assert names == sorted(set(names))


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_a_direct_dependency_is_locked_within_its_range(requirement: Requirement) -> None:
    locked = LOCKED.get(canonicalize_name(requirement.name))
    assert locked, f"{requirement.name} is not in requirements.lock"
    assert requirement.specifier.contains(Version(locked)), f"{locked} is not {requirement.specifier}"


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_what_is_tested_is_what_is_locked(requirement: Requirement) -> None:
    assert version(requirement.name) == LOCKED[canonicalize_name(requirement.name)]


@pytest.mark.parametrize(
    "requirement", [r for r in DIRECT if r.name in {"prefect", "paramiko", "pydantic"}], ids=str
)
def test_a_dependency_we_lean_on_has_a_bound_on_both_sides(requirement: Requirement) -> None:
    assert {one.operator for one in requirement.specifier} == {">=", "<"}
