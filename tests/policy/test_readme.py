"""What the README says to type or to open exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from deployments.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))
TYPED = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()] + CODE
FOLDERS = "blocks|bench|deployments|docker|flows|tasks|tests"
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def commands(program: str) -> list[str]:
    return sorted({text for text in TYPED if text.startswith(f"{program} ")})


def test_there_is_something_to_check() -> None:
    assert commands("make")
    assert commands("packmaster")


@pytest.mark.parametrize("command", commands("make"))
def test_a_make_target_exists(command: str) -> None:
    assert command.split()[1] in TARGETS


@pytest.mark.parametrize("command", commands("packmaster"))
def test_a_packmaster_command_exists(command: str) -> None:
    found: click.Command = main
    words = shlex.split(command)[1:]
    while isinstance(found, click.Group):
        assert words, f"{command} is only a group"
        assert words[0] in found.commands, command
        found = found.commands[words.pop(0)]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("path", sorted({text for text in CODE if re.match(rf"({FOLDERS})/[^<{{*]*$", text)}))
def test_a_file_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?://)([^)]+)\)", README))))
def test_a_link_leads_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    assert not path or (ROOT / path).exists()
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert not anchor or anchor in anchors


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_make_target_is_phony(target: str) -> None:
    """And make never takes a target for a file."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert target in phony[1].split()
