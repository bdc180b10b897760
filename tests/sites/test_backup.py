"""A backup is believed only when all of it can be read back."""

import gzip
import io
import json
import resource
import tarfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.errors import PlanRefused
from tasks.sites.backup import DUMP, DataPart, DumpPart, _digest, open_backup, seal_backup, verify_backup
from tasks.sites.dump import COMPLETE
from tasks.sites.facts import parse_site_facts
from tasks.sites.plan import PathFacts

URI = "a.org"
SQL = (
    b"CREATE TABLE `t``x` (a int)\n PARTITION BY RANGE (`a`)\n(PARTITION `p` VALUES LESS THAN (9));\n"
    b"INSERT INTO `t``x` (`a`) VALUES\n(1),\n(2);\n"
    b"CREATE TABLE `u` (a int)\n PARTITION BY LIST (`a`)\n(PARTITION `p` VALUES IN (1));\n"
)
CODE = b"DELIMITER ;;\nCREATE TRIGGER x\nINSERT INTO `t` VALUES\n(3) ;;\nDELIMITER ;\n"


def write_dump(path: Path, sql: bytes) -> None:
    path.write_bytes(gzip.compress(sql))


def write_tar(path: Path, *names: str) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = open_backup(tmp_path, URI, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    write_dump(directory / DUMP, SQL + CODE + COMPLETE)
    write_tar(directory / "data-web1.tar.gz", "a.org/x", "a.org/y")
    seal(directory)
    return directory


def seal(directory: Path, rows: int = 2, entries: int = 2) -> None:
    dump = DumpPart(DUMP, _digest(directory / DUMP), {"t`x": rows, "empty": 0})
    archive = directory / "data-web1.tar.gz"
    data = (DataPart("web1", archive.name, _digest(archive), entries), DataPart("web2", "", "", 0))
    seal_backup(directory, URI, dump, data)


def test_a_whole_backup_is_proof_for_its_nodes(directory: Path) -> None:
    assert directory.name == "20260102T030405"
    proof = verify_backup(directory, URI)
    assert (proof.nodes, proof.rows, proof.entries) == (("web1", "web2"), 2, 2)
    assert (directory / "backup.json").stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


def test_it_is_no_proof_for_another_site(directory: Path) -> None:
    with pytest.raises(PlanRefused, match=r"backup of a\.org"):
        verify_backup(directory, "b.org")


@pytest.mark.parametrize("name", [DUMP, "data-web1.tar.gz"])
def test_a_changed_or_missing_file_is_found(directory: Path, name: str) -> None:
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(PlanRefused, match="is not what was written"):
        verify_backup(directory, URI)
    (directory / name).unlink()
    with pytest.raises(PlanRefused, match="cannot be used"):
        verify_backup(directory, URI)


def test_a_dump_without_its_end_is_found(directory: Path) -> None:
    write_dump(directory / DUMP, SQL)
    seal(directory)
    with pytest.raises(PlanRefused, match="end of the dump is missing"):
        verify_backup(directory, URI)


def test_missing_rows_and_missing_files_are_found(directory: Path) -> None:
    seal(directory, rows=3)
    with pytest.raises(PlanRefused, match="not the rows"):
        verify_backup(directory, URI)
    seal(directory, entries=3)
    with pytest.raises(PlanRefused, match="not the files"):
        verify_backup(directory, URI)


def test_an_archive_that_would_unpack_elsewhere_is_refused(directory: Path) -> None:
    write_tar(directory / "data-web1.tar.gz", "a.org/x", "b.org/y")
    seal(directory)
    with pytest.raises(PlanRefused, match=r"'b\.org/y' is not in a\.org"):
        verify_backup(directory, URI)


def test_a_backup_that_was_cut_off_is_refused(directory: Path) -> None:
    (directory / "backup.json").unlink()
    with pytest.raises(PlanRefused, match="cannot be used"):
        verify_backup(directory, URI)
    (directory / "backup.json").write_text(json.dumps({"uri": URI, "dump": asdict(DumpPart("x", "", {}))}))
    with pytest.raises(PlanRefused, match="cannot be used"):
        verify_backup(directory, URI)


def test_a_directory_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlanRefused, match=r"Not a directory.*PACKMASTER_BACKUPS"):
        open_backup(tmp_path / "file", URI, datetime(2026, 1, 2, tzinfo=UTC))


def test_a_file_that_cannot_be_written_whole_is_refused_and_is_no_backup(directory: Path) -> None:
    (directory / "backup.json").unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(PlanRefused, match=r"backup\.json cannot be written.*File too large"):
            seal(directory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (directory / "backup.json").exists()


def test_facts_are_parsed_with_their_seed_kept_secret() -> None:
    seed = "a" * 64
    facts = parse_site_facts(
        "directory|aegir:www-data|2750|/var/aegir/sites/a.org\nlink|/var/aegir/sites/a.org\n"
        f"\n<?php\ndefine('PACKMASTER_SEED', '{seed}');\n\nmore\n"
    )
    assert facts.paths == {"/var/aegir/sites/a.org": PathFacts("directory", "aegir:www-data", "2750")}
    assert facts.link == "/var/aegir/sites/a.org"
    assert facts.seed is not None
    assert seed not in repr(facts)
    nothing = parse_site_facts("\n")
    assert (nothing.paths, nothing.link, nothing.seed, nothing.settings_digest) == ({}, None, None, None)
