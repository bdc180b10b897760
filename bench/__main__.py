"""The benchmark's command line."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from bench import bed as beds
from bench.ansible import AnsibleSynchronize
from bench.contender import Contender
from bench.ours import Engine, Flow
from bench.plot import draw
from bench.report import Report, describe_machine, today, write_csv, write_json, write_markdown
from bench.results import summarise
from bench.rsyncs import AegirRsync, XargsRsync
from bench.session import Session
from bench.tree import Tree, TreeSpec, make_tree

CONTENDERS = {one.name: one for one in (AegirRsync, XargsRsync, AnsibleSynchronize, Engine, Flow)}
RESULTS = beds.HOME / "results"


def say(line: str) -> None:
    """Tell the person at the terminal, at once."""
    click.echo(line, err=True)


@click.command()
@click.option("--nodes", default=8, type=click.IntRange(1, beds.NODES_KNOWN), show_default=True)
@click.option("--files", default=20_000, type=click.IntRange(min=300), show_default=True)
@click.option("--rounds", default=5, type=click.IntRange(min=1), show_default=True)
@click.option(
    "--only", default=",".join(CONTENDERS), help="Contenders, separated by commas.", show_default=True
)
@click.option(
    "--warm-up/--no-warm-up", default=True, help="A first round that is not kept.", show_default=True
)
@click.option("--keep", is_flag=True, help="Leave the nodes running.")
def main(*, nodes: int, files: int, rounds: int, only: str, warm_up: bool, keep: bool) -> None:
    """Measure code distribution: cold, nothing changed, 200 files changed. Prints the tables."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := sorted(set(names) - set(CONTENDERS)):
        raise click.UsageError(f"unknown contender {unknown[0]!r}; there are {', '.join(CONTENDERS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    beds.HOME.mkdir(parents=True, exist_ok=True)
    spec = TreeSpec.of(files)
    say(f"making a source tree of {files:,} files, {spec.size / 1e6:.0f} MB")
    tree = make_tree(beds.HOME / "source", spec)
    try:
        session = measure(nodes, names, tree, rounds, warm_up)
    finally:
        if not keep:
            beds.stop()
            shutil.rmtree(tree.root, ignore_errors=True)
    labels = {name: CONTENDERS[name].label for name in CONTENDERS if name in names}
    report = Report(
        labels=labels,
        figures=summarise(session.samples, list(labels), nodes),
        samples=session.samples,
        nodes=nodes,
        files=files,
        size=spec.size,
        rounds=rounds,
        machine=describe_machine(),
        date=today(),
    )
    click.echo(publish(report, RESULTS, session.failed))
    sys.exit(1 if session.failed else 0)


def measure(nodes: int, names: list[str], tree: Tree, rounds: int, warm_up: bool) -> Session:
    """Bring the bed up and run the session on it."""
    bed = beds.start(nodes)
    contenders: list[Contender] = [CONTENDERS[name](bed, tree.root) for name in CONTENDERS if name in names]
    session = Session(bed, tree, contenders, say)
    try:
        session.prepare()
        session.run(rounds, warm_up=warm_up)
    finally:
        session.close()
    return session


def publish(report: Report, folder: Path, failed: Mapping[str, str]) -> str:
    """Write the results in all forms; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = write_markdown(report) + "".join(f"- {name} FAILED: {why}\n" for name, why in failed.items())
    (folder / "results.md").write_text(text, encoding="utf-8")
    (folder / "results.csv").write_text(write_csv(report), encoding="utf-8")
    (folder / "results.json").write_text(write_json(report), encoding="utf-8")
    draw(report, folder / "results.png")
    say(f"written to {folder}: results.md, results.csv, results.json, results.png")
    return text


if __name__ == "__main__":
    main()
