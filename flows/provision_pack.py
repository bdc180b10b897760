"""provision-pack: make the machines of a pack share code and data over NFS, so that it survives every reboot.

Trigger: by hand, for a new pack; any time afterwards, to put back what somebody changed.
Effect: web servers are prepared as prepare-server does; the NFS server gets what is missing, directories,
    and a file of its own in /etc/exports.d, and exports the share to exactly the pack's nodes (or to the
    clients that are registered); other exports are never touched. Each node mounts code (slaves read-only)
    and data, now and at boot, however late its server comes. A file is then written through every mount and
    looked for everywhere. Refused before anything is exported: user or group ids that differ between
    machines, a disk that is not mounted, a mount point that is not empty, exports to almost everybody.
Rollback: none; nothing of anybody else's is changed. remove-node takes a node out again.
Safe to re-run? Yes, also after a kill: it reads what is there, and on a pack that is provided it changes
    nothing.
3 a.m.: a running pack does not depend on it. A node that is refused or fails is named; the others are
    finished. `does not answer` means that a mount hangs: look at its NFS server first, then run this again.
    An NFS server that waits at its boot for a standby that is gone for good: register the share without the
    standby, and run this. It goes on alone, and asks nobody any more.
"""

from __future__ import annotations

from prefect.client.schemas.objects import State

from blocks import Pack
from flows.drift import publish_drift
from flows.enlist import enlist, go_on_alone
from flows.locks import hold
from flows.operation import operation
from flows.prepare_server import UnixId
from flows.provision import plan_provision, provision
from flows.publish import conclude, publish_plan
from tasks.outcome import Outcomes


@operation("provision-pack", runbook=__doc__, run_name="provision {pack.name}")
def provision_pack(
    pack: Pack, uid: UnixId = 5000, gid: UnixId = 5000, fix_ids: bool = False, dry_run: bool = False
) -> State[Outcomes]:
    """Make the machines of a pack share code and data over NFS.

    Args:
        pack: The pack to provide.
        uid: Numeric user id of aegir, the same on every machine of the pack.
        gid: Numeric group id of aegir, the same on every machine of the pack.
        fix_ids: Where ids differ, change them and the owner of the files concerned.
        dry_run: Only show what would be done.
    """
    target, about = pack.resolve(), f"provision {pack.name}"
    with hold(target):
        work = plan_provision(target, target.nodes, uid, gid, fix_ids=fix_ids)
        publish_plan(about, *work.plans)
        if dry_run:
            publish_drift(about, work.plans)
        outcomes = work.unread
        if not dry_run:
            outcomes += go_on_alone(target.share)
            outcomes += provision(work)
            if target.share is not None and target.share.standby is not None and not outcomes.failed:
                outcomes += enlist(target.share)
    return conclude(about, outcomes)
