"""The steps on a share's servers: records, tokens, gate, and putting one out of action; each repeatable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tasks.errors import CommandFailed
from tasks.fencing.facts import run_bounded, run_script
from tasks.fencing.gate import DROP_IN, GATE_FILES
from tasks.fencing.methods import Attempt, fence_by_command, fence_over_ssh, see_silence
from tasks.fencing.record import Record
from tasks.fencing.values import ServerLook
from tasks.fleet import Machine, Share
from tasks.outcome import Outcome
from tasks.servers.apply import apply_step
from tasks.servers.steps import MakeDirectory
from tasks.ssh import connect

STEP_SECONDS = 30.0
# systemd is slow on a small machine that has much else to do.
ARM_SECONDS = 90.0


def fence(server: Machine, share: Share, by_hand: str = "") -> Outcome:
    """The server exports nothing of the share, now and after a boot: seen, or said by a person.

    `by_hand` is the server's name, typed by somebody who has put it out of action. The methods are tried in
    order until one is confirmed; a failed Outcome says what each of them saw.
    """
    attempts: list[str] = []
    for attempt in _try_methods(server, share, by_hand):
        if attempt.confirmed:
            return Outcome(server.name, "fence", changed=True, detail=f"confirmed {attempt}")
        attempts.append(str(attempt))
    remedy = (
        f"Nothing was promoted. Put {server.name} out of action yourself (switch it off, or cut it off from "
        f"the network), then run this again with fenced_by_hand set to {server.name}"
    )
    seen = "; ".join(attempts)
    return Outcome(server.name, "fence", error=f"not seen to be out of action: {seen}. {remedy}")


def retire(server: Machine, share: Share) -> Outcome:
    """The server, which is well, ends the share by itself: nothing of it is exported there, now and after a
    boot. It is never switched off, also where that was not seen; then the Outcome is a failed one.
    """
    attempt = fence_over_ssh(server, share)
    if attempt.confirmed:
        return Outcome(server.name, "fence", changed=True, detail=f"confirmed {attempt}")
    return Outcome(server.name, "fence", error=f"not seen to end its exports: {attempt}. It was left running")


def set_record(server: Machine, share: Share, record: Record) -> Outcome:
    """The server's record is this one; CommandFailed when that would go back, for somebody else was here."""
    args = (share.name, str(record.epoch), record.role.value, record.peer)
    try:
        run_bounded(server, "set_record", *args, seconds=STEP_SECONDS)
    except CommandFailed as failure:
        raise CommandFailed(failure.result, f"{server.name} cannot become {record}") from failure
    return Outcome(server.name, "record", changed=True, detail=str(record))


def withdraw_claim(server: Machine, share: Share, epoch: int) -> Outcome:
    """What was about to take over under `epoch`, and exported nothing, is a standby again."""
    run_bounded(server, "withdraw", share.name, str(epoch), seconds=STEP_SECONDS)
    return Outcome(server.name, "withdraw", changed=True, detail=f"a standby again; epoch {epoch} is free")


def write_tokens(server: Machine, share: Share, epoch: int) -> Outcome:
    """Both trees say whose they are and under which epoch, for clients to compare."""
    text = token_of(server, epoch)
    run_bounded(server, "write_tokens", text, share.code_path, share.data_path, seconds=STEP_SECONDS)
    return Outcome(server.name, "write token", changed=True, detail=text)


def stop_copying(server: Machine, share: Share) -> Outcome:
    """Nobody copies into the share's trees on this server any more."""
    run_bounded(server, "stop_copying", share.name, seconds=STEP_SECONDS)
    return Outcome(server.name, "stop copying", detail="nobody copies into it")


def open_disk(server: Machine, share: Share) -> Outcome:
    """The share's disk can be written to, and clients' packets get through: what `fence` closed is open."""
    run_bounded(server, "open", share.name, share.disk, seconds=STEP_SECONDS)
    return Outcome(server.name, "open disk", detail="it can be written to")


def arm_gate(server: Machine, look: ServerLook) -> Outcome:
    """At its next boot the server asks its peer before nfsd starts, and it answers its peer now."""
    if is_armed(look):
        return Outcome(server.name, "arm gate", detail="as it has to be")
    ssh = connect(server.as_admin())
    apply_step(ssh, MakeDirectory(DROP_IN, "root", "root", 0o755))
    for file in GATE_FILES:
        apply_step(ssh, file)
    run_script(ssh, "arm", timeout=ARM_SECONDS)
    return Outcome(server.name, "arm gate", changed=True, detail="asks before it exports")


def is_armed(look: ServerLook) -> bool:
    """Whether the gate is there as it has to be, and answers."""
    wanted = {file.path: hashlib.sha256(file.content.encode()).hexdigest() for file in GATE_FILES}
    return look.answers and dict(look.files) == wanted


def token_of(server: Machine, epoch: int) -> str:
    """What `.packmaster-token` says in a share's trees."""
    return f"epoch {epoch} on {server.name}"


def _try_methods(server: Machine, share: Share, by_hand: str) -> Iterator[Attempt]:
    yield fence_over_ssh(server, share)
    if server.fence is not None:
        yield fence_by_command(server, server.fence)
    if by_hand == server.name:
        yield see_silence(server, "by hand", "a person says that it is out of action")
