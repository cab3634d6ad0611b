"""Few, sorted files: so that one run is a point look-up, however many commits wrote it.

What a newcomer would get wrong
    Files are merged by size class, eight of a class into one of the next, so that a row is
    rewritten a few times in its life and not at every compaction.
    Merging changes no row: the digests travel with their rows (`chain`).
    `vacuum` deletes what no version lists any more and what a killed archivist left; only after
    a while, because somebody may still read, or be about to commit, such a file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake.exceptions import DeltaError

from ledger.archive.errors import ArchiveFailed, short
from ledger.archive.rows import SCHEMA
from ledger.archive.table import Behind, File, Table

FILES_MIN = 8
"""So many files of one size class are merged into one."""
ALL = 2
"""As `files_min`: merge whatever can be merged."""
ROWS_MAX = 500_000
"""A merge holds at most so many rows, about 400 MB; a file half as large is left alone."""
BYTES_MAX = 64 * 1024 * 1024
"""And at most so much compressed, where payloads are large."""
VACUUM_AFTER_HOURS = 168


@dataclass(slots=True)
class Compaction:
    """What `compact` did: files and bytes before and after, and rows rewritten."""

    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    rows: int = 0


def compact(
    archive: str | Path | Table,
    *,
    storage_options: dict[str, str] | None = None,
    files_min: int = FILES_MIN,
    rows_max: int = ROWS_MAX,
) -> Compaction:
    """Merge small files into larger ones sorted by run, until no size class is full.

    `files_min=ALL` merges whatever can be merged. Safe beside archivists and other compactions:
    whoever comes second stops. Raises ArchiveMissing, ArchiveFailed.
    """
    table = archive if isinstance(archive, Table) else Table.open(archive, storage_options)
    table.refresh()
    files = table.files()
    done = Compaction(files_before=len(files), bytes_before=sum(file.bytes for file in files))
    while (group := next(_full(table.files(), files_min, rows_max), None)) is not None:
        try:
            done.rows += _merge(table, group)
        except Behind:
            table.refresh()
            break
    files = table.files()
    done.files_after, done.bytes_after = len(files), sum(file.bytes for file in files)
    return done


def vacuum(
    archive: str | Path | Table,
    *,
    storage_options: dict[str, str] | None = None,
    after_hours: int = VACUUM_AFTER_HOURS,
) -> list[str]:
    """Delete the files that no version needs and that are older than `after_hours`; their names.

    Raises ArchiveMissing, ArchiveFailed.
    """
    table = archive if isinstance(archive, Table) else Table.open(archive, storage_options)
    table.refresh()
    try:
        gone = table.delta.vacuum(
            retention_hours=after_hours, dry_run=False, enforce_retention_duration=False, full=True
        )
    except (DeltaError, OSError) as problem:
        raise ArchiveFailed(table.location, short(problem)) from problem
    return sorted(gone)


def _full(files: list[File], files_min: int, rows_max: int) -> Iterator[list[File]]:
    """Groups of neighbours of one size class that are due to be merged."""
    classes: dict[tuple[str, int, int], list[File]] = defaultdict(list)
    for file in files:
        if file.rows < rows_max // 2 and file.bytes < BYTES_MAX // 2:
            size_class = 0 if files_min == ALL else file.rows.bit_length() // 3
            classes[file.log, file.partition, size_class].append(file)
    for members in classes.values():
        group: list[File] = []
        rows = size = 0
        for file in members:
            if rows + file.rows > rows_max or size + file.bytes > BYTES_MAX:
                break
            group.append(file)
            rows, size = rows + file.rows, size + file.bytes
        if len(group) >= files_min or 1 < len(group) < len(members):
            yield group


def _merge(table: Table, files: list[File]) -> int:
    """Replace these files by one, sorted by run; the rows rewritten. Raises Behind."""
    names = [name for name in SCHEMA.names if name not in ("log", "partition")]
    try:
        batches = [batch for file in files for batch in table.read(file, names)]
    except (OSError, pa.ArrowException) as problem:
        raise ArchiveFailed(table.location, short(problem)) from problem
    rows = pa.Table.from_batches(batches).sort_by([("run", "ascending"), ("position", "ascending")])
    assert rows.num_rows == sum(file.rows for file in files)
    count: int = rows.num_rows
    rows = rows.add_column(0, "log", pa.repeat(files[0].log, count)).add_column(
        1, "partition", pa.repeat(pa.scalar(files[0].partition, pa.int32()), count)
    )
    table.commit([table.write(rows, final=True)], removed=files)
    return count
