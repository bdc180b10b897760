"""Nodes of a pack made to share code and data, and taken out again: what provision-pack, add-node and
remove-node do.

Order: ids, then the server's directories, then the nodes' packages and accounts, then exports, then mounts,
then proof. Nothing is exported before ids are the same on every machine that was asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from prefect import Task, unmapped

from flows.enlist import refuse_other_server
from flows.gather import Facts, gather
from flows.publish import Plan, failures_of
from tasks.errors import PlanRefused
from tasks.fleet import Machine, Node, Share, Target
from tasks.nfs import (
    MachineFacts,
    MachinePlan,
    ProvisionPlan,
    WithdrawPlan,
    as_provided,
    await_grace,
    change_ids,
    check_provided,
    export_share,
    find_tokens,
    mount_share,
    new_token,
    node_questions,
    plan_withdraw,
    prepare_storage,
    read_machine,
    read_tokens,
    remove_token,
    server_questions,
    unmount_share,
    write_token,
)
from tasks.nfs import plan_provision as plan_share
from tasks.outcome import Outcome, Outcomes
from tasks.servers import (
    FleetPlan,
    apply_server_plan,
    desired_server,
    plan_fleet,
    read_server_facts,
    verify_server,
)
from tasks.steps import join_outcomes


@dataclass(frozen=True, slots=True)
class Provision:
    """What has to be done so that `nodes` use the target's share; `unread` are the failures to find out."""

    target: Target
    nodes: tuple[Node, ...]
    share: ProvisionPlan
    servers: FleetPlan
    facts: Mapping[str, MachineFacts]
    unread: Outcomes

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Everything to publish."""
        return self.share, self.servers


def plan_provision(
    target: Target,
    nodes: Sequence[Node],
    uid: int | None = None,
    gid: int | None = None,
    *,
    fix_ids: bool = False,
) -> Provision:
    """Read the share's servers and `nodes`, all of `target`, and plan what is left to do.

    Exports are planned for all nodes of the target, so that it may already have one that is being added;
    those of nodes that are not in `nodes` stay as they are. Without ids, those in use are kept. Nodes that
    cannot be read, or must not be touched, are left out and are in `unread`. Raises PlanRefused when ids
    differ (and `fix_ids` was not asked for), and when the share's servers cannot be read, must not be
    touched, or are not those that the share has since it was moved.
    """
    refuse_other_server(target.share)
    facts = _read(target, nodes, uid, gid)
    plan = plan_share(target, facts.seen, uid=uid, gid=gid, fix_ids=fix_ids)
    refused = dict(plan.refused)
    usable = tuple(node for node in nodes if node.name in facts.seen and node.name not in refused)
    desired = [desired_server(node, plan.uid, plan.gid) for node in usable]
    servers = gather("read server", read_server_facts.map(usable, desired))
    changes = {each.host: each for each in plan.ids}
    prepared = plan_fleet(
        {
            node.name: (wanted, as_provided(servers.seen[node.name], changes.get(node.name)))
            for node, wanted in zip(usable, desired, strict=True)
            if node.name in servers.seen
        }
    )
    unread = facts.unread + servers.unread + failures_of("plan mounts", refused)
    unread += failures_of("plan server", dict(prepared.refused))
    ready = tuple(node for node in usable if node.name not in unread.failed_hosts)
    return Provision(target, ready, plan, prepared, facts.seen, unread)


def provision(work: Provision) -> Outcomes:
    """Do what was planned, and prove it: nothing is left to do, and a file written anywhere is seen
    everywhere.

    The outcomes of machines that could not be planned for are `work.unread`, and not in these.
    """
    target, plan = work.target, work.share
    machines = {machine.name: machine for machine in target.machines}
    outcomes = _carry_out(change_ids, machines, plan.ids)
    if outcomes.failed:
        return outcomes
    outcomes += _carry_out(prepare_storage, machines, plan.storage)
    prepared = {each.host: each for each in work.servers.plans}
    outcomes += join_outcomes(apply_server_plan.map(work.nodes, [prepared[node.name] for node in work.nodes]))
    share = _share_of(target)
    if share.server.name in outcomes.failed_hosts:
        return outcomes
    outcomes += _carry_out(export_share, machines, plan.exports)
    if share.server.name in outcomes.failed_hosts:
        return outcomes
    nodes = _without(work.nodes, outcomes)
    mounts = [each for each in plan.mounts if each.host in {node.name for node in nodes}]
    outcomes += _carry_out(mount_share, machines, mounts)
    nodes = _without(nodes, outcomes)
    return outcomes + _prove(work, nodes, {outcome.host for outcome in outcomes.changed})


def plan_withdrawal(target: Target, node: Node) -> tuple[WithdrawPlan, Outcomes]:
    """Plan that `node` has nothing of the share; with the failures to read it or the share's server."""
    share = _share_of(target)
    asked: list[Machine] = [node, *([] if share.mode == "external" else [share.server])]
    questions = [node_questions(target), server_questions(share)]
    facts = gather("read machine", read_machine.map(asked, questions[: len(asked)]))
    return plan_withdraw(target, node, facts.seen), facts.unread


def withdraw(target: Target, node: Node) -> Outcomes:
    """`node` has unmounted the share and does not mount it again, and the share is not exported to it any
    more.

    A node that cannot be reached is a failed Outcome, and the export to it is taken back all the same. Where
    it could not unmount, because something holds the mount busy, the export stays: it would hang.
    """
    plan, unread = plan_withdrawal(target, node)
    machines = {machine.name: machine for machine in (*target.machines, node)}
    outcomes = unread + _carry_out(unmount_share, machines, [plan.mounts] if plan.mounts else [])
    if outcomes.failed_hosts - unread.failed_hosts:
        return outcomes
    return outcomes + _carry_out(export_share, machines, [plan.exports] if plan.exports else [])


def _read(target: Target, nodes: Sequence[Node], uid: int | None, gid: int | None) -> Facts[MachineFacts]:
    share = _share_of(target)
    servers = [] if share.mode == "external" else [share.server, *([share.standby] if share.standby else [])]
    of_server, of_node = server_questions(share, uid, gid), node_questions(target, uid, gid)
    questions = [*(of_server for _ in servers), *(of_node for _ in nodes)]
    facts = gather("read machine", read_machine.map([*servers, *nodes], questions))
    errors = {outcome.host: outcome.error or "" for outcome in facts.unread}
    # A standby that is off is named; the share is provided without it.
    if servers and share.server.name in errors:
        raise PlanRefused(
            f"the NFS server {share.server.name} of share {share.name} could not be read: "
            f"{errors[share.server.name]}",
            "Nothing was touched. Bring it back, then run this again",
        )
    return facts


def _carry_out(
    step: Task[[Machine, MachinePlan], Outcome],
    machines: Mapping[str, Machine],
    plans: Sequence[MachinePlan],
) -> Outcomes:
    return join_outcomes(step.map([machines[each.host] for each in plans], list(plans)))


def _prove(work: Provision, nodes: Sequence[Node], changed: Collection[str]) -> Outcomes:
    """Files go through every mount. What was changed is read anew, and nothing is left to do there."""
    target, plan = work.target, work.share
    share = _share_of(target)
    outcomes = Outcomes() if share.mode == "external" else join_outcomes([await_grace.submit(share.server)])
    outcomes += _exchange_tokens(target, nodes, f"{plan.uid}:{plan.gid}")
    left_out = {node.name for node in target.nodes} - {node.name for node in nodes}
    known = {name: seen for name, seen in work.facts.items() if name not in left_out}
    facts = _read(target, nodes, plan.uid, plan.gid) if changed else Facts(known, Outcomes())
    # For one that could not be read, nothing was planned, and whoever planned has said so.
    away = work.unread.failed_hosts
    seen = {name: found for name, found in facts.seen.items() if name not in away}
    again = plan_share(target, seen, uid=plan.uid, gid=plan.gid)
    outcomes += [outcome for outcome in facts.unread if outcome.host not in away]
    outcomes += check_provided(target, again, seen)
    touched = [node for node in nodes if node.name in changed]
    desired = [desired_server(node, plan.uid, plan.gid) for node in touched]
    return outcomes + join_outcomes(verify_server.map(touched, desired))


def _exchange_tokens(target: Target, nodes: Sequence[Node], owner: str) -> Outcomes:
    share = _share_of(target)
    tokens = {node.name: new_token(target, node) for node in nodes}
    outcomes = join_outcomes(write_token.map(nodes, list(tokens.values())))
    written = [node for node in nodes if node.name not in outcomes.failed_hosts]
    if written:
        # All see what one wrote, the master if it is among them; and the server sees what each wrote.
        first = tokens[next((node for node in written if node.name == target.master), written[0]).name]
        outcomes += join_outcomes(
            read_tokens.map(written, unmapped(target), unmapped([first]), unmapped(owner))
        )
        if share.mode != "external":
            found = [tokens[node.name] for node in written]
            outcomes += join_outcomes([find_tokens.submit(share.server, target, share, found, owner)])
    return outcomes + join_outcomes(remove_token.map(written, [tokens[node.name] for node in written]))


def _without(nodes: Sequence[Node], outcomes: Outcomes) -> tuple[Node, ...]:
    return tuple(node for node in nodes if node.name not in outcomes.failed_hosts)


def _share_of(target: Target) -> Share:
    if target.share is None:
        raise PlanRefused(f"{target.name} is no pack: it has no share", "Choose a pack")
    return target.share
