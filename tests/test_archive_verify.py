"""`verify` sees what was changed, lost, doubled or damaged."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ledger.archive.archivist import Archivist
from ledger.archive.rows import SCHEMA
from ledger.archive.table import Table
from ledger.archive.verify import verify
from ledger.log.sqlite import SqliteLog
from tests.archives import fill, many_files


def kinds(where: Path) -> set[str]:
    """What `verify` complains of."""
    return {problem.kind for problem in verify(where).problems}


def rewrite(where: Path, change: Any) -> None:
    """Replace the middle one of three segments by a changed copy, as somebody with a tool would."""
    table = Table.open(where)
    middle = table.files()[1]
    rows = pq.read_table(where / middle.path, partitioning=None)
    rows = rows.add_column(0, "log", pa.repeat("events", rows.num_rows))
    rows = rows.add_column(1, "partition", pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows))
    changed = change(rows.cast(SCHEMA))
    added = [table.write(changed)] if changed.num_rows else []
    table.commit(added, removed=[middle])


def replaced(rows: pa.Table, column: str, values: list[Any]) -> pa.Table:
    """The table with one column's values replaced."""
    index = rows.schema.get_field_index(column)
    return rows.set_column(index, column, pa.array(values, rows.schema.field(index).type))


def forged(rows: pa.Table) -> pa.Table:
    """One payload changed, as by somebody who would rather it had said something else."""
    payloads = rows["payload"].to_pylist()
    payloads[2] = json.dumps({"type": "run_ended", "run": "r0"})
    return replaced(rows, "payload", payloads)


def swapped(rows: pa.Table) -> pa.Table:
    """Two payloads in each other's place."""
    payloads = rows["payload"].to_pylist()
    payloads[1], payloads[2] = payloads[2], payloads[1]
    return replaced(rows, "payload", payloads)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (forged, "digest"),
        (swapped, "digest"),
        (lambda rows: rows.slice(1), "gap"),
        (lambda rows: rows.slice(0, 0), "gap"),
        (lambda rows: pa.concat_tables([rows.slice(0, 1), rows]), "duplicate"),
        (lambda rows: replaced(rows, "chain", [None] * 5 + [b"x" * 32]), "digest"),
        (lambda rows: replaced(rows, "chain", [None] * 5 + [b"x" * 32]), "metadata"),
        (lambda rows: replaced(rows, "position", [7, 8, 9, 10, 11, 99]), "gap"),
    ],
)
def test_verify_sees_tampering(log: SqliteLog, where: Path, change: Any, kind: str) -> None:
    """A proof that cannot fail proves nothing."""
    many_files(log, where, 3)
    assert verify(where).ok
    rewrite(where, change)

    assert kind in kinds(where)


def test_verify_sees_a_lost_tail(log: SqliteLog, where: Path) -> None:
    """What is missing at the end leaves no hole to be seen; the table's position tells."""
    many_files(log, where, 3)
    table = Table.open(where)
    table.commit([], removed=table.files()[2:])

    assert kinds(where) == {"end"}


def test_verify_sees_a_lost_file(log: SqliteLog, where: Path) -> None:
    """Disks and people lose files."""
    many_files(log, where, 3)
    (where / Table.open(where).files()[1].path).unlink()

    assert {"unreadable", "gap"} <= kinds(where)


def test_verify_sees_a_damaged_file(log: SqliteLog, where: Path) -> None:
    """A flipped bit on a disk is an answer of `verify`, not a traceback."""
    many_files(log, where, 3)
    path = where / Table.open(where).files()[1].path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert "unreadable" in kinds(where)


def test_verify_lists_a_bounded_number_of_problems(log: SqliteLog, where: Path) -> None:
    """A million missing rows are one sentence, not a million."""
    fill(log, 1000)
    archivist = Archivist(log, where)
    archivist.drain()
    table = archivist.table
    rows = pq.read_table(where / table.files()[0].path, partitioning=None)
    rows = rows.filter(pa.array([i % 2 == 0 for i in range(rows.num_rows)]))
    rows = rows.add_column(0, "log", pa.repeat("events", rows.num_rows))
    rows = rows.add_column(1, "partition", pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows))
    table.commit([table.write(rows.cast(SCHEMA))], removed=table.files())
    found = verify(where)

    assert len(found.problems) == 100
    assert found.problems_more > 300
