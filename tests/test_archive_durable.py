"""What is told to be archived is on the disk, whoever committed it: power may fail at any moment.

Which files are synced is heard from Python: a file is opened for that, and the library that
commits opens none in Python.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction

from ledger.archive.archivist import META, Archivist
from ledger.archive.rows import PARTITION_BY, SCHEMA
from ledger.archive.verify import verify
from ledger.log.sqlite import SqliteLog
from tests.archives import contents, fill, many_files

_listening: list[list[str]] = []
_installed: list[object] = []


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _listening:
        _listening[-1].append(Path(str(args[0])).name)


@contextmanager
def opened() -> Iterator[list[str]]:
    """The names of the files that are opened in the block, in order."""
    if _hear not in _installed:  # An audit hook is for good.
        sys.addaudithook(_hear)
        _installed.append(_hear)
    _listening.append([])
    try:
        yield _listening[-1]
    finally:
        _listening.pop()


def die_committing(archivist: Archivist) -> str:
    """Commit the next events, and never come to sync that; the name of their file."""
    archivist.table.refresh()
    segment = archivist._segment("events")
    assert segment is not None
    file, facts = segment
    mark = Transaction(f"{archivist.table.log_id}/events/0", facts["next"])
    archivist.table.delta.create_write_transaction(
        [file], "append", SCHEMA, PARTITION_BY,
        commit_properties=CommitProperties({"ledger": [facts]}, app_transactions=[mark]),
    )  # fmt: skip
    return Path(file.path).name


def commits(*versions: int) -> list[str]:
    """The names of these commits."""
    return [f"{version:020}.json" for version in versions]


def test_who_commits_behind_another_syncs_both(log: SqliteLog, where: Path) -> None:
    """The version loaded holds what the other committed, and the log may be trimmed up to it."""
    fill(log, 12)
    first, second, third = (Archivist(log, where, segment_rows=3) for _ in range(3))
    with opened() as names:
        files = [die_committing(first), die_committing(second)]
        assert names.index(files[0]) < names.index(files[1])
        assert not set(commits(1, 2)) & set(names)
        assert third.step() == 3
        assert [name for name in names if name in commits(0, 1, 2, 3)] == commits(0, 1, 2, 3)
    with opened() as names:
        assert third.step() == 3

        assert [name for name in names if name.endswith(".json")] == commits(4)


def test_who_only_looks_syncs_what_it_tells(log: SqliteLog, where: Path) -> None:
    """Nothing is left to commit, but the log hears how far the archive is."""
    fill(log, 3)
    first, second = Archivist(log, where), Archivist(log, where)
    die_committing(first)
    with opened() as names:
        assert second.step() == 0
        assert log.meta(META["events"]) == 4
        assert [name for name in names if name.endswith(".json")] == commits(0, 1)
    with opened() as names:
        assert second.step() == 0
        assert names == []
    with opened() as names:
        first.table.refresh_durably()
        assert [name for name in names if name.endswith(".json")] == commits(0, 1)


def test_what_is_in_a_checkpoint_is_not_synced_again(log: SqliteLog, where: Path) -> None:
    """Opening syncs what it takes to open; a table may have many old commits."""
    many_files(log, where, 5)
    DeltaTable(str(where)).create_checkpoint()
    fill(log, 3)
    archivist = Archivist(log, where)
    with opened() as names:
        assert archivist.step() == 3

        tail = ["00000000000000000005.checkpoint.parquet", *commits(5, 6), "_last_checkpoint"]
        assert [name for name in names if name in {*commits(*range(5)), *tail}] == tail


@pytest.mark.parametrize("torn", [(3,), (4,), (3, 4)])
def test_of_commits_that_nobody_synced_any_may_be_torn(
    log: SqliteLog, where: Path, torn: tuple[int, ...]
) -> None:
    """The disk keeps no order; what is behind a torn one was not told either, and is done again."""
    many_files(log, where, 4)
    for name in commits(*torn):
        (where / "_delta_log" / name).write_bytes(b"")

    assert Archivist(log, where).drain() == 6 * (5 - torn[0])
    assert verify(where).ok
    assert contents(where) == [(row.offset, row.run, row.value) for row in log.read(0, 100)]
