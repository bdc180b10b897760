"""A share's server serves under an epoch, and its standby may take over: the end of provision-pack and
rejoin-standby.
"""

from __future__ import annotations

from flows.gather import gather
from flows.ledger import read_ledger, write_ledger
from tasks.failover import plan_enlistment, refuse_superseded
from tasks.fencing import arm_gate, read_server, set_record, write_tokens
from tasks.fencing.apply import token_of
from tasks.fleet import Machine, Share
from tasks.outcome import Outcome, Outcomes
from tasks.steps import join_outcomes


def refuse_other_server(share: Share | None) -> None:
    """Raise PlanRefused when the inventory names a server that was replaced; nothing is asked of machines."""
    if share is not None and share.mode == "replica":
        refuse_superseded(share, read_ledger(share.name))


def go_on_alone(share: Share | None) -> Outcomes:
    """A server whose standby is registered no more asks nobody when it boots. It may be waiting for just
    that one, so this comes before anything that needs its nfsd.
    """
    return enlist(share) if share is not None and share.standby is None else Outcomes()


def enlist(share: Share, *, synced: bool = False) -> Outcomes:
    """Both servers have gate and record, and the server's trees say which epoch it is.

    `synced` says that a standby which was fenced has a copy again, and nothing of its own. Nothing is done
    for a share that never had a standby. Raises PlanRefused when the servers' records contradict the
    inventory.
    """
    ledger = read_ledger(share.name)
    if share.mode != "replica" or (share.standby is None and not ledger.epoch):
        return Outcomes()
    servers = [share.server, *([share.standby] if share.standby else [])]
    looks = gather("read NFS server", [read_server.submit(server, share) for server in servers])
    if looks.unread:
        return looks.unread
    plan = plan_enlistment(share, ledger, looks.seen, synced=synced)
    write_ledger(share.name, ledger, plan.ledger)
    outcomes = join_outcomes([arm_gate.submit(server, looks.seen[server.name]) for server in servers])
    if looks.seen[share.server.name].token != token_of(share.server, plan.ledger.epoch):
        outcomes += join_outcomes([write_tokens.submit(share.server, share, plan.ledger.epoch)])
    machines: dict[str, Machine] = {server.name: server for server in servers}
    for host, record in plan.records:
        if outcomes.failed:
            break
        if looks.seen[host].record != record:
            outcomes += join_outcomes([set_record.submit(machines[host], share, record)])
    return outcomes + [Outcome(share.server.name, "enlist", detail=note) for note in plan.notes]
