"""What orchestration costs: measured runs, medians, and whether they are within the goals. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

# A fact and a step for each host, as every flow of ours has them.
TASKS_PER_HOST = 2
GOAL_MS, GOAL_KB, GOAL_SECONDS = 15.0, 100.0, 5.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the job, bare or (with `body`, `server_mb` and `behind`) as a flow; seconds, KB and MB.

    `body` is the part of the flow between its first task and its last; `memory_kb` what the process grew by.
    """

    hosts: int
    tasks: int
    seconds: float
    cpu: float
    memory_kb: float
    body: float = 0.0
    server_mb: float = 0.0
    behind: float = 0.0

    @property
    def is_flow(self) -> bool:
        return self.body > 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one number of hosts costs: medians over all runs.

    `task_ms` and `task_kb` are what a task run adds to the bare function, `around` what a flow run adds
    before its first task and after its last.
    """

    hosts: int
    tasks: int
    bare: float
    flow: float
    task_ms: float
    task_cpu_ms: float
    around: float
    task_kb: float
    server_mb: float
    behind: float

    @property
    def missed(self) -> tuple[str, ...]:
        """The goals that are missed, in words."""
        found = (
            (self.task_ms, GOAL_MS, "ms a task run"),
            (self.task_kb, GOAL_KB, "KB a task run"),
            (self.behind, GOAL_SECONDS, "s behind"),
        )
        return tuple(
            f"{value:.1f} {unit} (goal: under {goal:.0f})" for value, goal, unit in found if value >= goal
        )


def weigh(runs: Iterable[Run]) -> list[Cost]:
    """The cost for each number of hosts that was measured both ways, fewest hosts first."""
    every = list(runs)
    costs = []
    for hosts in sorted({run.hosts for run in every}):
        bare = [run for run in every if run.hosts == hosts and not run.is_flow]
        flow = [run for run in every if run.hosts == hosts and run.is_flow]
        if bare and flow:
            costs.append(_compare(bare, flow))
    return costs


def _compare(bare: Sequence[Run], flow: Sequence[Run]) -> Cost:
    tasks, seconds = flow[0].tasks, median(run.seconds for run in bare)
    more_cpu = median(run.cpu for run in flow) - median(run.cpu for run in bare)
    more_memory = median(run.memory_kb for run in flow) - median(run.memory_kb for run in bare)
    return Cost(
        hosts=flow[0].hosts,
        tasks=tasks,
        bare=seconds,
        flow=median(run.seconds for run in flow),
        task_ms=(median(run.body for run in flow) - seconds) / tasks * 1000,
        task_cpu_ms=more_cpu / tasks * 1000,
        around=median(run.seconds - run.body for run in flow),
        task_kb=more_memory / tasks,
        server_mb=median(run.server_mb for run in flow),
        behind=median(run.behind for run in flow),
    )


def render(costs: Sequence[Cost]) -> str:
    """The table, and a line for each number of hosts that misses a goal, or one that says that none does."""
    head = (
        "hosts", "task runs", "bare s", "as a flow s", "around the tasks s", "ms a task run",
        "CPU ms a task run", "KB a task run", "server MB", "behind s",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---:|' * len(head)}"]
    for cost in costs:
        cells = (
            f"{cost.hosts}", f"{cost.tasks}", f"{cost.bare:.2f}", f"{cost.flow:.2f}", f"{cost.around:.2f}",
            f"{cost.task_ms:.1f}", f"{cost.task_cpu_ms:.1f}", f"{cost.task_kb:.0f}", f"{cost.server_mb:.0f}",
            f"{cost.behind:.1f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    verdicts = [f"- {cost.hosts} hosts: MISSED: {', '.join(cost.missed)}" for cost in costs if cost.missed]
    goals = f"under {GOAL_MS:.0f} ms and {GOAL_KB:.0f} KB a task run, less than {GOAL_SECONDS:.0f} s behind"
    return "\n".join([*lines, "", *(verdicts or [f"- every goal is met: {goals}"])]) + "\n"


def as_records(runs: Iterable[Run]) -> list[dict[str, float]]:
    """Every run, for who wants to calculate otherwise."""
    return [asdict(run) for run in runs]
