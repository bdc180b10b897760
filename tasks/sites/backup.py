"""Backups on the controller: made, described, and read back before anybody relies on them.

<root>/<uri>/<stamp>/database.sql.gz, data-<node>.tar.gz for every node, and backup.json, which is written
last: a directory without it is the left-over of a run that was killed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from tasks.errors import PlanRefused
from tasks.fleet import Database
from tasks.names import check_host_name
from tasks.sites.archive import fetch_data
from tasks.sites.dump import COMPLETE, PROGRAM, dump_database
from tasks.sites.plan import Site
from tasks.ssh import Ssh

DESCRIPTION = "backup.json"
DUMP = "database.sql.gz"


@dataclass(frozen=True, slots=True)
class DumpPart:
    """The dump of the database: its file, digest, rows by table, and what else is in it."""

    file: str
    digest: str
    rows: dict[str, int]
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataPart:
    """The data of one node; a node that had none has no file."""

    node: str
    file: str
    digest: str
    entries: int


@dataclass(frozen=True, slots=True)
class VerifiedBackup:
    """A backup that was read back whole in this run. Given only by `verify_backup`."""

    uri: str
    directory: str
    nodes: tuple[str, ...]
    rows: int
    entries: int

    def __str__(self) -> str:
        return f"{self.directory}: {self.rows} rows, {self.entries} files of {', '.join(self.nodes)}"


def open_backup(root: Path, uri: str, now: datetime) -> Path:
    """Return the directory for a backup made at `now`, readable by nobody else; it may exist already.

    Raises PlanRefused when it cannot be made, as everything here does that cannot write its file.
    """
    directory = root / check_host_name(uri) / f"{now:%Y%m%dT%H%M%S}"
    with _refused_when_unwritable(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def back_up_database(database: Database, name: str, directory: Path) -> DumpPart:
    """The database is in `directory` as one gzipped SQL file."""
    path = directory / DUMP
    with _write_private(path) as raw, gzip.GzipFile("", "wb", 4, raw, mtime=0) as sink:
        dumped = dump_database(database, name, cast("BinaryIO", sink))
    return DumpPart(DUMP, _digest(path), dumped.rows, dumped.others)


def back_up_data(ssh: Ssh, site: Site, directory: Path) -> DataPart:
    """The node's data of the site is in `directory` as one gzipped tar."""
    name = f"data-{ssh.node.name}.tar.gz"
    with _write_private(directory / name) as sink:
        archived = fetch_data(ssh, site, sink)
    if not archived.digest:
        (directory / name).unlink()
        return DataPart(ssh.node.name, "", "", 0)
    return DataPart(ssh.node.name, name, archived.digest, archived.entries)


def seal_backup(directory: Path, uri: str, dump: DumpPart | None, data: tuple[DataPart, ...]) -> None:
    """The backup says what it holds; from now on it can be verified."""
    description = {"uri": uri, "dump": asdict(dump) if dump else None, "data": [asdict(p) for p in data]}
    with _write_private(directory / DESCRIPTION) as sink:
        sink.write(json.dumps(description, indent=2, sort_keys=True).encode() + b"\n")


def verify_backup(directory: Path, uri: str) -> VerifiedBackup:
    """Read the whole backup back and return what it is good for.

    Every file has its digest, the dump is complete and has every row that was read, the archives have every
    file. Raises PlanRefused naming what is wrong.
    """
    try:
        description = json.loads((directory / DESCRIPTION).read_text())
        if description["uri"] != uri:
            raise _unusable(directory, f"it is a backup of {description['uri']}")
        dump, data = description["dump"], description["data"]
        for part in [*([dump] if dump else []), *data]:
            if part["file"] and _digest(directory / part["file"]) != part["digest"]:
                raise _unusable(directory, f"{part['file']} is not what was written")
        if dump and _count_rows(directory / dump["file"]) != _with_rows(dump["rows"]):
            raise _unusable(directory, "the dump has not the rows that were read")
        for part in data:
            if part["file"] and _count_members(directory / part["file"], uri) != part["entries"]:
                raise _unusable(directory, f"{part['file']} has not the files that were there")
    except (OSError, EOFError, ValueError, KeyError, tarfile.TarError) as broken:
        raise _unusable(directory, str(broken)) from broken
    return VerifiedBackup(
        uri,
        str(directory),
        tuple(part["node"] for part in data),
        sum(dump["rows"].values()) if dump else 0,
        sum(part["entries"] for part in data),
    )


def _unusable(directory: Path, reason: str) -> PlanRefused:
    return PlanRefused(f"the backup {directory} cannot be used: {reason}", "Make another one")


@contextmanager
def _write_private(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when it is complete and on disk."""
    part = path.with_name(path.name + ".part")
    with _refused_when_unwritable(path):
        part.unlink(missing_ok=True)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(path)


@contextmanager
def _refused_when_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise PlanRefused(
            f"the backup {path} cannot be written on the controller: {failure.strerror or failure}",
            "Free its disk, or set PACKMASTER_BACKUPS to one that the worker may write, and run again",
        ) from failure


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _with_rows(rows: Mapping[str, Any]) -> dict[str, int]:
    return {table: count for table, count in rows.items() if count}


def _count_rows(path: Path) -> dict[str, int]:
    """Count the rows of every table in a dump; raises EOFError when its end is missing."""
    rows: dict[str, int] = {}
    table, line, tables, inserting = "", b"", True, False
    with gzip.open(path, "rb") as source:
        for line in source:
            if line == PROGRAM:  # what comes now is code, and may have lines of any form
                tables = False
            elif tables and line.startswith(b"INSERT INTO `"):
                table, inserting = _table_of(line), True
            elif inserting:  # a row is one line; elsewhere a list of partitions begins like one
                rows[table] = rows.get(table, 0) + 1
                inserting = line.endswith(b",\n")
    if line != COMPLETE:
        raise EOFError("the end of the dump is missing")
    return rows


def _table_of(line: bytes) -> str:
    return (
        line.decode().removeprefix("INSERT INTO `").replace("``", "\0").partition("`")[0].replace("\0", "`")
    )


def _count_members(path: Path, uri: str) -> int:
    count = 0
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.name != uri and not member.name.startswith(f"{uri}/"):
                raise ValueError(f"{member.name!a} is not in {uri}")
            count += 1
    return count
