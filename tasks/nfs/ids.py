"""Over NFS an owner is a number, so it has to be the same everywhere before anything is exported. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.errors import PlanRefused
from tasks.fleet import HOME, PLATFORM_USER, WEB_GROUP
from tasks.nfs.state import HUNG, MachineFacts, Numbers

DEFAULT_ID = 5000
# Debian gives both to `www-data` on every machine (base-passwd).
WEB_ID = 33


@dataclass(frozen=True, slots=True)
class ChangeIds:
    """The account has these ids, and so have all its files below `roots`, on this machine's own disks."""

    user: str
    group: str
    old_uid: int
    uid: int
    old_gid: int
    gid: int
    roots: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.user}: {self.old_uid}:{self.old_gid} becomes {self.uid}:{self.gid}, and its files "
            f"below {', '.join(self.roots)} follow"
        )


def choose_ids(machines: Sequence[MachineFacts], uid: int | None, gid: int | None) -> tuple[int, int]:
    """The ids that the platform user has to have: those asked for, else those of the first that has it."""
    users = [seen.numbers for seen in machines if seen.numbers.user is not None]
    first = users[0] if users else Numbers(DEFAULT_ID, DEFAULT_ID, DEFAULT_ID)
    chosen_uid = uid if uid is not None else first.user
    chosen_gid = gid if gid is not None else first.user_gid
    return chosen_uid or DEFAULT_ID, chosen_gid or DEFAULT_ID


def plan_ids(
    machines: Sequence[MachineFacts],
    uid: int,
    gid: int,
    *,
    fix: bool = False,
    roots: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, tuple[ChangeIds, ...]]:
    """What makes the numbers of all machines the same, by host; empty where nothing has to be changed.

    A platform user that does not exist yet is made later, with these ids. Raises PlanRefused when numbers
    differ and `fix` was not asked for, and when an id that is needed belongs to somebody else. `roots` are
    more directories than the home, by host, with files of these accounts.
    """
    web = _choose_web(machines)
    _refuse_without_web_group(machines)
    _refuse_held(machines, uid, gid)
    _refuse_held_by_web(machines, web)
    changes = {
        seen.host: found
        for seen in machines
        if (found := tuple(_changes(seen.numbers, (uid, gid), web, (roots or {}).get(seen.host, ()))))
    }
    if changes and not fix:
        numbers = "; ".join(f"{seen.host}: {seen.numbers}" for seen in machines)
        raise PlanRefused(
            f"user and group ids have to be {uid}:{gid} for {PLATFORM_USER} and {web[0]}:{web[1]} for "
            f"{WEB_GROUP} on every machine, and are not on {', '.join(changes)} ({numbers}). Nothing was "
            "exported",
            "Run this again with fix_ids, which changes the accounts there and the owner of their files; "
            f"or by hand: {' '.join(_by_hand(host, found) for host, found in changes.items())}",
        )
    for seen in machines:
        if seen.host in changes and HUNG in seen.answers.values():
            raise PlanRefused(
                f"on {seen.host} ids have to be changed, and a mount there does not answer",
                "Looking for the files of an account would hang on it: bring its NFS server back first",
            )
    return changes


def after(facts: MachineFacts, changes: Iterable[ChangeIds]) -> MachineFacts:
    """The machine as it will be when its ids have been changed: what had the new numbers has a name then."""
    numbers, paths = facts.numbers, dict(facts.paths)
    for change in changes:
        for path, seen in paths.items():
            owner = change.user if seen.owner == str(change.uid) else seen.owner
            group = change.group if seen.group == str(change.gid) else seen.group
            paths[path] = replace(seen, owner=owner, group=group)
        if change.user == PLATFORM_USER:
            numbers = replace(numbers, user=change.uid, user_gid=change.gid, group=change.gid)
        else:
            numbers = replace(numbers, web_user=change.uid, web_group=change.gid)
    return replace(facts, numbers=numbers, paths=paths)


def _choose_web(machines: Sequence[MachineFacts]) -> tuple[int, int]:
    """What all have, where all have the same; else Debian's."""
    seen = {(one.numbers.web_user, one.numbers.web_group) for one in machines}
    user, group = next(iter(seen)) if len(seen) == 1 else (WEB_ID, WEB_ID)
    return user or WEB_ID, group or WEB_ID


def _changes(
    numbers: Numbers, platform: tuple[int, int], web: tuple[int, int], roots: Sequence[str]
) -> Iterable[ChangeIds]:
    below = tuple(dict.fromkeys((HOME, *roots)))
    user, group = numbers.user, numbers.group
    if user is not None and group is not None and (user, group) != platform:
        yield ChangeIds(PLATFORM_USER, PLATFORM_USER, user, platform[0], group, platform[1], below)
    user, group = numbers.web_user, numbers.web_group
    if user is not None and group is not None and (user, group) != web:
        yield ChangeIds(WEB_GROUP, WEB_GROUP, user, web[0], group, web[1], below)


def _refuse_without_web_group(machines: Sequence[MachineFacts]) -> None:
    for seen in machines:
        if seen.numbers.web_group is None or seen.numbers.web_user is None:
            raise PlanRefused(
                f"{seen.host} has no user and group {WEB_GROUP}",
                "Debian's base-passwd makes them: run `dpkg-reconfigure base-passwd` there",
            )


def _refuse_held(machines: Sequence[MachineFacts], uid: int, gid: int) -> None:
    for seen in machines:
        numbers = seen.numbers
        if numbers.user is not None and numbers.group != numbers.user_gid:
            raise PlanRefused(
                f"on {seen.host} the group of {PLATFORM_USER} is {numbers.user_gid}, and the group of that "
                f"name is {_or_none(numbers.group)}",
                f"Make it its own group: `groupadd {PLATFORM_USER}` if there is none, then `usermod -g`",
            )
        for what, number in (("UID", uid), ("GID", gid)):
            holder = seen.holders.get(f"{what.lower()} {number}")
            if holder not in (None, PLATFORM_USER):
                raise PlanRefused(
                    f"on {seen.host} the {what} {number} belongs to {holder}",
                    f"Give {holder} another one there, or choose a {what} that is free on every machine",
                )


def _refuse_held_by_web(machines: Sequence[MachineFacts], web: tuple[int, int]) -> None:
    for seen in machines:
        for what, number in (("uid", web[0]), ("gid", web[1])):
            holder = seen.holders.get(f"{what} {number}")
            if holder not in (None, WEB_GROUP):
                raise PlanRefused(
                    f"on {seen.host} the {what.upper()} {number} belongs to {holder} and not to {WEB_GROUP}",
                    f"Give {holder} another one there, then run this again",
                )


def _or_none(number: int | None) -> str:
    return "not there" if number is None else str(number)


def _by_hand(host: str, changes: Iterable[ChangeIds]) -> str:
    commands = "; ".join(
        f"groupmod -g {one.gid} {one.group}; usermod -u {one.uid} {one.user}; find {' '.join(one.roots)} "
        f"-xdev -uid {one.old_uid} -exec chown -h {one.uid} {{}} +; find {' '.join(one.roots)} -xdev -gid "
        f"{one.old_gid} -exec chgrp -h {one.gid} {{}} +"
        for one in changes
    )
    return f"on {host} `{commands}`."
