"""One step on one host: stage, verify, switch, prune. Each can be killed anywhere and run again.

Staging is: take a hard-linked copy of the current release (the spare one, see tidy.py, or one made now with
`cp -al`: five times faster on a node than rsync with --link-dest, and right even if a file changed without
changing its size and time) without what changes, bring what changed (with rsync where a part of it may be
there), check everything and give it its name. That is one round trip where little changes, three otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

from tasks.code.change import Change, describe_change
from tasks.code.facts import check_release, platform_directory
from tasks.code.listing import Difference, compare_listing, parse_listing
from tasks.code.manifest import Manifest, digest_of_contents
from tasks.code.parcel import Parcel, fits_payload, make_parcel
from tasks.code.programs import Progress
from tasks.code.release import ReleasePlan
from tasks.code.rsync import transfer
from tasks.code.scripts import DISCARD, PRUNE, READ_LISTING, REMOVE_PLATFORM, SWITCH, VERIFY
from tasks.code.staging import FINISH, PREPARE, STAGE
from tasks.code.stream import send_files
from tasks.code.tidy import TIDY, TIDY_AFTER_SECONDS
from tasks.errors import CommandFailed, Drift, PlanRefused
from tasks.outcome import Outcome
from tasks.result import Result
from tasks.ssh import Ssh

log = logging.getLogger(__name__)

Prepared = Literal["prepared", "resumed", "done"]

STAGE_SECONDS = 600.0
SWITCH_SECONDS = 20.0
NOT_AS_SENT, SPARE_CHANGED, BASE_CHANGED = 65, 66, 67


def stage_release(
    ssh: Ssh,
    plan: ReleasePlan,
    tree: Path,
    manifest: Manifest,
    *,
    base: Manifest | None = None,
    overlay: Mapping[str, bytes] | None = None,
    site_links: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> Outcome:
    """The release of `plan` is on the host, complete, verified against `manifest` and not yet current.

    `base` is the manifest of the release that the plan hard-links from. `overlay` and `site_links` (relative
    path -> target under /var/aegir/sites) are put in before it gets its name. Raises Unreachable,
    AccessDenied, CommandFailed, and Drift when the node does not have what was sent.
    """
    part = plan.for_host(ssh.node.name)
    if not part.stage:
        return Outcome(ssh.node.name, "stage", detail=f"{plan.release} is there")
    check_release(plan.release)
    if part.base is not None and (base is None or base.digest != part.base_content):
        raise PlanRefused(f"{part.host}: the manifest of the base {part.base} is not at hand", "Plan again")
    files, links = tuple(sorted((overlay or {}).items())), tuple(sorted((site_links or {}).items()))
    detail = ""
    for start in (base, None) if part.base else (None,):
        base_name, change = "" if start is None else part.base or "", describe_change(start, manifest)
        pack = partial(make_parcel, plan.release, manifest, start, tree, files, links)
        if fits_payload(start, change):
            staged = _finish(ssh, plan, base_name, pack(), manifest, change)
        else:
            staged = _stage_apart(ssh, plan, base_name, change, pack, manifest, tree, on_progress)
        if staged:
            break
        detail = f"{part.base} was changed on the node and is not used; "
    detail += f"{plan.release}: {len(change.sent)} entries, {change.size:,} bytes sent"
    return Outcome(ssh.node.name, "stage", changed=True, detail=detail)


def _stage_apart(
    ssh: Ssh,
    plan: ReleasePlan,
    base: str,
    change: Change,
    pack: Callable[[], Parcel],
    manifest: Manifest,
    tree: Path,
    on_progress: Progress | None,
) -> bool:
    """The release is there, what it lacked came by a connection of its own; False as _finish says it."""
    with ThreadPoolExecutor(max_workers=1) as beside:
        # Packed here while the node makes its copy.
        packing = beside.submit(pack)
        prepared = _prepare(ssh, plan, base, change, manifest)
        parcel = packing.result()
    if prepared is None:
        return False
    if prepared == "done":
        return True
    inside = f"{platform_directory(plan.platform)}/releases/.staging-{plan.release}"
    if parcel.apart and prepared == "resumed":
        size = sum(entry.size for entry in parcel.apart)
        transfer(ssh.node, tree, parcel.names, inside, size=size, on_progress=on_progress)
    elif parcel.apart:
        send_files(ssh.node, tree, parcel.apart, inside, on_progress=on_progress)
    return _finish(ssh, plan, base, parcel, manifest)


def _prepare(ssh: Ssh, plan: ReleasePlan, base: str, change: Change, manifest: Manifest) -> Prepared | None:
    """There is a staging directory: a copy of the base without what goes, or, without a base, an empty
    one; or that of a run that was cut off, with a part of what is to be sent; or the release itself.

    None when somebody has changed the base.
    """
    prepared = ssh.run_script(
        PREPARE,
        *(platform_directory(plan.platform), plan.release, base, manifest.digest),
        stdin=_list_unlinked(change),
        timeout=STAGE_SECONDS,
        check=False,
    )
    if base and prepared.status == BASE_CHANGED:
        return None
    if not prepared.ok:
        raise _explain(prepared, f"cannot prepare .staging-{plan.release}")
    said = prepared.text.strip()
    if said == "done":
        return "done"
    return "resumed" if said == "resumed" else "prepared"


def _list_unlinked(change: Change) -> bytes:
    return b"".join(b"./%s\0" % path for path in change.unlinked)


def _finish(
    ssh: Ssh, plan: ReleasePlan, base: str, parcel: Parcel, manifest: Manifest, change: Change | None = None
) -> bool:
    """The staged directory is what the manifest says, and has its name; or it is thrown away.

    With `change` there is none yet, and it is made in the same round trip, as _prepare does it. False when
    somebody has changed the base, the copy of it, or its manifest.
    """
    directory, staging = platform_directory(plan.platform), f".staging-{plan.release}"
    unlinked = b"" if change is None else _list_unlinked(change)
    finished = ssh.run_script(
        FINISH if change is None else STAGE,
        *(directory, plan.release, parcel.structure, parcel.contents, manifest.digest),
        *(base, parcel.difference, str(len(unlinked))),
        stdin=unlinked + parcel.payload,
        timeout=STAGE_SECONDS,
        check=False,
    )
    if base and finished.status == BASE_CHANGED:
        return False
    if finished.status == SPARE_CHANGED:
        ssh.run_script(DISCARD, directory, staging, timeout=STAGE_SECONDS)
        return False
    if finished.status == NOT_AS_SENT:
        found = read_difference(ssh, plan.platform, staging, manifest)
        # What is wrong here would look right to the next rsync if its size and time agree.
        ssh.run_script(DISCARD, directory, staging, timeout=STAGE_SECONDS)
        raise Drift(f"{ssh.node.name}: {plan.release} arrived differently ({finished.text.strip()}): {found}")
    if not finished.ok:
        raise _explain(finished, f"cannot finish {staging}")
    return True


def _explain(failed: Result, meaning: str) -> CommandFailed:
    full = "No space left on device" in failed.error_text
    return CommandFailed(failed, "the node's disk is full" if full else meaning)


def verify_release(ssh: Ssh, platform: str, release: str, manifest: Manifest) -> Outcome:
    """Every file of the release was read on the node and is what the manifest says; else Drift is raised."""
    files = [entry for entry in manifest if entry.kind == "f"]
    result = ssh.run_script(
        VERIFY,
        *(platform_directory(platform), check_release(release)),
        stdin=b"".join(b"./%s\0" % entry.path for entry in files),
        timeout=STAGE_SECONDS,
        check=False,
    )
    if result.text.split() != [manifest.structure, digest_of_contents(files)]:
        found = read_difference(ssh, platform, release, manifest)
        raise Drift(f"{ssh.node.name}: {release} of {platform} is not as it was deployed: {found}")
    return Outcome(ssh.node.name, "verify", detail=f"{release}: {len(files)} files as deployed")


def read_difference(ssh: Ssh, platform: str, release: str, manifest: Manifest) -> Difference:
    """What is missing, extra or changed in a directory of releases, every file read."""
    result = ssh.run_script(READ_LISTING, platform_directory(platform), release, timeout=STAGE_SECONDS)
    return compare_listing(manifest, parse_listing(result.out))


def switch_release(ssh: Ssh, platform: str, release: str | None) -> Outcome:
    """`current` is `release`, swapped in one rename, and php-fpm knows; with None it is gone.

    The node makes a spare copy of it afterwards, which nobody waits for (see tidy.py).
    """
    wanted = "" if release is None else check_release(release)
    result = ssh.run_script(
        SWITCH,
        *(platform_directory(platform), wanted, TIDY, str(TIDY_AFTER_SECONDS)),
        timeout=SWITCH_SECONDS,
        meaning="cannot switch",
    )
    return Outcome(ssh.node.name, "switch", changed=bool(result.out), detail=release or "no release")


def prune_releases(ssh: Ssh, platform: str, names: Iterable[str]) -> Outcome:
    """The named releases and left-overs are gone from the host; the current one is refused.

    Of the releases only the names: the node removes them afterwards, which nobody waits for (see tidy.py).
    """
    names = tuple(names)
    for name in names:
        check_release(name.removeprefix(".staging-").removeprefix(".linking-").removeprefix(".trash-"))
    if not names:
        return Outcome(ssh.node.name, "prune")
    result = ssh.run_script(
        PRUNE,
        *(platform_directory(platform), TIDY, str(TIDY_AFTER_SECONDS + 1), *names),
        timeout=STAGE_SECONDS,
        meaning="cannot prune",
    )
    removed = result.text.count("removed ")
    return Outcome(ssh.node.name, "prune", changed=removed > 0, detail=f"{removed} removed")


def remove_platform(ssh: Ssh, platform: str) -> Outcome:
    """No release of the platform is left on the host: `current` went first, then each release, then the rest.

    Raises CommandFailed when there is something in its directory that is not ours.
    """
    result = ssh.run_script(
        REMOVE_PLATFORM,
        platform_directory(platform),
        timeout=STAGE_SECONDS,
        meaning="cannot remove the platform",
    )
    changed = bool(result.out)
    return Outcome(
        ssh.node.name, "remove code", changed, "its releases are gone" if changed else "nothing there"
    )
