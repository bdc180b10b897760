"""Never two writable servers: records, the gate at boot, and putting a server out of action."""

from __future__ import annotations

from tasks.fencing import apply, facts
from tasks.fencing.record import Record, Role
from tasks.fencing.values import ServerLook
from tasks.fleet import Machine, Share
from tasks.outcome import Outcome
from tasks.steps import fact_task, host_task

__all__ = [
    "Record",
    "Role",
    "ServerLook",
    "arm_gate",
    "fence_server",
    "open_disk",
    "read_server",
    "retire_server",
    "set_record",
    "stop_copying",
    "withdraw_claim",
    "write_tokens",
]


# A server that does not answer is what is looked for: it is not asked again by itself.
@fact_task("read NFS server", run_name="look into {server.name}", retries=0)
def read_server(server: Machine, share: Share) -> ServerLook:
    """What the server says of itself and the share, within seconds."""
    return facts.read_server(server, share)


@host_task("fence", run_name="fence {server.name}", retries=0)
def fence_server(server: Machine, share: Share, by_hand: str = "") -> Outcome:
    """The server was seen to be out of action, or a person says that it is."""
    return apply.fence(server, share, by_hand)


@host_task("fence", run_name="end exports on {server.name}", retries=0)
def retire_server(server: Machine, share: Share) -> Outcome:
    """The server, which is well, was seen to have ended the share; nothing but SSH is used."""
    return apply.retire(server, share)


@host_task("record", run_name="{server.name} becomes {record}")
def set_record(server: Machine, share: Share, record: Record) -> Outcome:
    """The server's record of the share is this one."""
    return apply.set_record(server, share, record)


@host_task("withdraw", run_name="{server.name} does not take over")
def withdraw_claim(server: Machine, share: Share, epoch: int) -> Outcome:
    """What was about to take over is a standby again."""
    return apply.withdraw_claim(server, share, epoch)


@host_task("write token", run_name="write epoch {epoch} on {server.name}")
def write_tokens(server: Machine, share: Share, epoch: int) -> Outcome:
    """Clients can see whose the trees are, and under which epoch."""
    return apply.write_tokens(server, share, epoch)


@host_task("stop copying", run_name="stop copying to {server.name}")
def stop_copying(server: Machine, share: Share) -> Outcome:
    """Nobody copies into the server's trees."""
    return apply.stop_copying(server, share)


@host_task("open disk", run_name="open the disk of {server.name}")
def open_disk(server: Machine, share: Share) -> Outcome:
    """What fencing closed is open again."""
    return apply.open_disk(server, share)


@host_task("arm gate", run_name="arm the gate of {server.name}")
def arm_gate(server: Machine, look: ServerLook) -> Outcome:
    """The server asks its peer before it exports after a boot."""
    return apply.arm_gate(server, look)
