"""From machines as they are to a pack that shares its code and data: facts -> ProvisionPlan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.errors import PlanRefused
from tasks.fleet import Node, Share, Target
from tasks.nfs.attach import plan_attach, plan_detach
from tasks.nfs.exports import Export, canonical, desired_exports, exports_file, parse_exports
from tasks.nfs.ids import after, choose_ids, plan_ids
from tasks.nfs.mounts import desired_mounts
from tasks.nfs.state import MachineFacts
from tasks.nfs.steps import Step
from tasks.nfs.storage import plan_exports, plan_standby, plan_storage, plan_unexport, refuse_extra


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """What will be done on one machine in one phase, in order. False when there is nothing to do."""

    host: str
    steps: tuple[Step, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        return "\n".join([f"{self.host}:", *(f"  {step}" for step in self.steps)])

    def as_rows(self) -> list[dict[str, str]]:
        """One row a step, for a table artifact."""
        return [
            {"host": self.host, "order": str(n), "step": str(step)} for n, step in enumerate(self.steps, 1)
        ]


@dataclass(frozen=True, slots=True)
class ProvisionPlan:
    """What will be done for a share, phase after phase, and which nodes were refused: (host, reason).

    `ids` on any machine, `storage` on the servers, `exports` on the server, `mounts` on the nodes. `uid` and
    `gid` are what the platform user has to have everywhere.
    """

    share: str
    uid: int
    gid: int
    ids: tuple[MachinePlan, ...] = ()
    storage: tuple[MachinePlan, ...] = ()
    exports: tuple[MachinePlan, ...] = ()
    mounts: tuple[MachinePlan, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def phases(self) -> tuple[MachinePlan, ...]:
        """Every machine's plan of every phase, in the order in which they are done."""
        return (*self.ids, *self.storage, *self.exports, *self.mounts)

    def __bool__(self) -> bool:
        return any(self.phases)

    def __str__(self) -> str:
        said = [str(plan) for plan in self.phases if plan]
        said += [f"{host}: refused: {why}" for host, why in self.refused]
        return "\n".join(said) or f"share {self.share}: is provided as asked, nothing to do"

    def as_rows(self) -> list[dict[str, str]]:
        """Refusals first, then every step of every machine."""
        rows = [{"host": host, "order": "", "step": f"refused: {why}"} for host, why in self.refused]
        rows += [row for plan in self.phases for row in plan.as_rows()]
        nothing = {"host": self.share, "order": "", "step": "is provided as asked, nothing to do"}
        return rows or [nothing]


@dataclass(frozen=True, slots=True)
class WithdrawPlan:
    """What takes a share from one node: unmounted there first, then no longer exported to it."""

    mounts: MachinePlan
    exports: MachinePlan

    def __bool__(self) -> bool:
        return bool(self.mounts) or bool(self.exports)

    def __str__(self) -> str:
        said = [str(plan) for plan in (self.mounts, self.exports) if plan]
        return "\n".join(said) or f"{self.mounts.host}: nothing of the share is there"

    def as_rows(self) -> list[dict[str, str]]:
        """The node's steps, then the server's."""
        return [*self.mounts.as_rows(), *self.exports.as_rows()]


def plan_provision(
    target: Target,
    facts: Mapping[str, MachineFacts],
    *,
    uid: int | None = None,
    gid: int | None = None,
    fix_ids: bool = False,
) -> ProvisionPlan:
    """Plan that the nodes with facts use the target's share, and that its server exports it to the pack.

    `facts` has the server, the standby if there is one that answers, and the nodes to work on; without ids,
    those in use are kept. A node that must not be touched is refused by itself. Raises PlanRefused when ids
    differ and `fix_ids` was not asked for, or when the server must not be touched.
    """
    share = _share_of(target)
    nodes = [node for node in target.nodes if node.name in facts]
    servers = [] if share.mode == "external" else [share.server.name]
    servers += [share.standby.name] if share.standby and share.standby.name in facts else []
    seen = [facts[name] for name in dict.fromkeys([*servers, *(node.name for node in nodes)])]
    chosen_uid, chosen_gid = choose_ids(seen, uid, gid)
    roots = dict.fromkeys(servers, (share.code_path, share.data_path))
    changes = plan_ids(seen, chosen_uid, chosen_gid, fix=fix_ids, roots=roots)
    fixed = {one.host: after(one, changes.get(one.host, ())) for one in seen}
    storage, exports = _plan_servers(target, share, fixed, chosen_uid, chosen_gid)
    mounts, refused = _plan_nodes(target, nodes, fixed)
    return ProvisionPlan(
        share=share.name,
        uid=chosen_uid,
        gid=chosen_gid,
        ids=tuple(MachinePlan(host, steps) for host, steps in changes.items()),
        storage=storage,
        exports=exports,
        mounts=mounts,
        refused=refused,
    )


def exports_for(target: Target, facts: Mapping[str, MachineFacts]) -> tuple[Export, ...]:
    """What the server is to export now: to each node that was looked at, and to those that it exported to
    before. A node that could not be looked at gets nothing new, for its ids are not known.
    """
    share = _share_of(target)
    known = facts[share.server.name].files.get(exports_file(share), "") if share.server.name in facts else ""
    before = {canonical(export.client) for export in parse_exports(known)}
    unknown = [
        node.name
        for node in target.nodes
        if node.name not in facts and not share.clients and canonical(node.address) not in before
    ]
    return desired_exports(target, unknown)


def plan_withdraw(target: Target, node: Node, facts: Mapping[str, MachineFacts]) -> WithdrawPlan:
    """Plan that `node` has nothing of the share any more. `target` may still have it; machines that could not
    be read have no facts, and nothing is planned for them.
    """
    share = _share_of(target)
    there = facts.get(node.name)
    steps = plan_detach(desired_mounts(target, node), there) if there else ()
    left = desired_exports(
        Target(target.name, tuple(n for n in target.nodes if n.name != node.name), target.master, share)
    )
    server = facts.get(share.server.name)
    taken = plan_unexport(share, server, left, target.name) if server and share.mode != "external" else ()
    return WithdrawPlan(MachinePlan(node.name, steps), MachinePlan(share.server.name, taken))


def _share_of(target: Target) -> Share:
    if target.share is None:
        raise PlanRefused(f"{target.name} is no pack: it has no share", "Choose a pack")
    return target.share


def _plan_servers(
    target: Target, share: Share, facts: Mapping[str, MachineFacts], uid: int, gid: int
) -> tuple[tuple[MachinePlan, ...], tuple[MachinePlan, ...]]:
    if share.mode == "external":
        return (), ()
    server = facts[share.server.name]
    storage = [MachinePlan(server.host, plan_storage(share, server, uid, gid))]
    if share.standby is not None and share.standby.name in facts:
        standby = facts[share.standby.name]
        storage.append(MachinePlan(standby.host, plan_standby(share, standby, uid, gid)))
    steps = plan_exports(target.name, share, server, exports_for(target, facts))
    refuse_extra(share, server, desired_exports(target))
    return tuple(storage), (MachinePlan(server.host, steps),)


def _plan_nodes(
    target: Target, nodes: Iterable[Node], facts: Mapping[str, MachineFacts]
) -> tuple[tuple[MachinePlan, ...], tuple[tuple[str, str], ...]]:
    plans, refused = [], []
    for node in nodes:
        try:
            plans.append(MachinePlan(node.name, plan_attach(desired_mounts(target, node), facts[node.name])))
        except PlanRefused as reason:
            refused.append((node.name, str(reason)))
    return tuple(plans), tuple(refused)
