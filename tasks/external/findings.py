"""Whether a cluster could keep its share available if it had to: what its servers say -> a finding each.

Pure. A client that has to reconnect reclaims what it had open only from a server that it takes for the same
one: the same address, the same file handles (fsid) and the same server scope. So these are compared before
they are needed. What is found here is told, and never mended: the cluster has its own manager.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.external.values import MemberSight, PacemakerState
from tasks.liveness.values import Verdict
from tasks.liveness.verdicts import Finding

CLUSTER = "cluster"


def find_cluster(
    names: Sequence[str],
    address: str,
    directories: Sequence[str],
    sights: Mapping[str, MemberSight],
    unseen: Mapping[str, str],
) -> dict[tuple[str, str], Finding]:
    """A finding for each server of the cluster, by (server, "cluster"); none where none is registered."""
    both = find_differences(address, directories, [sights[name] for name in names if name in sights])
    found = {}
    for name in names:
        sight = sights.get(name)
        if sight is None:
            why = unseen.get(name, "it was not asked")
            found[name, CLUSTER] = Finding(Verdict.DEGRADED, f"it cannot be looked into: {why}")
            continue
        troubles = (*find_troubles(sight), *both)
        verdict = Verdict.DEGRADED if troubles else Verdict.OK
        found[name, CLUSTER] = Finding(verdict, "; ".join(troubles) or _describe(sight, address))
    return found


def find_troubles(sight: MemberSight) -> tuple[str, ...]:
    """What one server says that would keep a failover from working, or has gone wrong in one."""
    troubles = []
    for resource in sight.drbd or ():
        if resource.primaries > 1:
            troubles.append(f"DRBD {resource.name} is written to on {resource.primaries} servers")
        troubles += [f"DRBD {resource.name}: {trouble}" for trouble in resource.troubles]
    if sight.drbd == ():
        troubles.append("DRBD is installed and shows no resource")
    if sight.pacemaker is not None:
        troubles += _find_pacemaker(sight.pacemaker)
    return tuple(troubles)


def find_differences(
    address: str, directories: Sequence[str], sights: Sequence[MemberSight]
) -> tuple[str, ...]:
    """What is not the same on all servers, and has to be; and what only one of them may have."""
    troubles = []
    holders = [sight.host for sight in sights if address in sight.addresses]
    if len(holders) > 1:
        troubles.append(f"{' and '.join(holders)} have the address {address} at once")
    scopes = {sight.host: sight.scope for sight in sights}
    if len(set(scopes.values())) > 1:
        said = ", ".join(f"{host} has {scope}" for host, scope in scopes.items())
        troubles.append(f"the server scope differs ({said}): clients lose their locks in a failover")
    for path in directories:
        fsids = {sight.host: fsid for sight in sights if (fsid := sight.fsid(path)) is not None}
        if len(set(fsids.values())) > 1:
            said = ", ".join(f"{host} has {fsid or 'none'}" for host, fsid in fsids.items())
            troubles.append(f"the fsid of {path} differs ({said}): files go stale in a failover")
        elif "" in fsids.values():
            troubles.append(f"{path} is exported without an fsid: files may go stale in a failover")
    return tuple(troubles)


def _find_pacemaker(state: PacemakerState) -> list[str]:
    if not state.answered:
        return ["Pacemaker does not answer"]
    troubles = [] if state.stonith else ["stonith is disabled: nothing puts a server out of action"]
    troubles += ["the cluster is in maintenance: it moves nothing"] if state.maintenance else []
    troubles += [] if state.quorum else ["the cluster has no quorum"]
    troubles += [f"{name} is {condition}" for name, condition in state.nodes if condition != "online"]
    return troubles + [f"failed: {failure}" for failure in state.failures]


def _describe(sight: MemberSight, address: str) -> str:
    said = [f"scope {sight.scope}"]
    said += [f"has the address {address}"] if address in sight.addresses else []
    said += [f"DRBD {one.name} {one.role}" for one in sight.drbd or ()]
    said += ["Pacemaker is well"] if sight.pacemaker else []
    return ", ".join(said)
