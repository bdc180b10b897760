"""What was measured about database access, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.report import describe_machine, today

LABELS = {
    "ours": "Packmaster's reconciler",
    "ansible": "Ansible community.mysql.mysql_user",
    "aegir": "a GRANT per host and site (Aegir)",
}
TITLES = {"mariadb": "MariaDB 10.11", "mysql": "MySQL 9.7"}


@dataclass(frozen=True, slots=True)
class Timing:
    """One run: wall seconds, CPU seconds of the controller, and the queries that the server counted."""

    server: str
    scenario: str
    way: str
    accounts: int
    seconds: float
    cpu: float
    queries: int


def write_markdown(timings: Sequence[Timing], sites: int, nodes: int) -> str:
    """Ours on all accounts, then every way on the sample, with what it costs per account as ratios."""
    head = f"{today()}, {sites:,} sites on {nodes} nodes; {describe_machine()}, the servers are on it too."
    servers = list(dict.fromkeys(timing.server for timing in timings))
    whole = [timing for timing in timings if not timing.scenario.startswith("sample")]
    sample = [timing for timing in timings if timing.scenario.startswith("sample")]
    lines = [
        head,
        "",
        *_table(("ours: seconds, the controller's CPU (queries)", servers), whole, _seconds),
        "",
    ]
    lines += _table(("sample: milliseconds an account (times ours)", servers), sample, _per_account(sample))
    return "\n".join(lines) + "\n"


def _table(
    head: tuple[str, list[str]], timings: Sequence[Timing], show: Callable[[Timing], str]
) -> Iterator[str]:
    first, servers = head
    yield " | ".join(["| " + first, *(TITLES[server] for server in servers)]) + " |"
    yield "|---" + "|---:" * len(servers) + "|"
    for scenario, way in dict.fromkeys((timing.scenario, timing.way) for timing in timings):
        label = (
            scenario if way == "ours" and not scenario.startswith("sample") else f"{scenario}: {LABELS[way]}"
        )
        cells = [
            next(
                (
                    show(t)
                    for t in reversed(timings)
                    if (t.server, t.scenario, t.way) == (server, scenario, way)
                ),
                "",
            )
            for server in servers
        ]
        yield f"| {label} | {' | '.join(cells)} |"


def _seconds(timing: Timing) -> str:
    return f"{timing.seconds:.2f}, {timing.cpu:.2f} ({timing.queries:,})"


def _per_account(sample: Sequence[Timing]) -> Callable[[Timing], str]:
    ours = {(t.server, t.scenario): t.seconds / t.accounts for t in sample if t.way == "ours"}

    def show(timing: Timing) -> str:
        cost = timing.seconds / timing.accounts
        return f"{cost * 1000:.1f} ({cost / ours[timing.server, timing.scenario]:.1f})"

    return show
