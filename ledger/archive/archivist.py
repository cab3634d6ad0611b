"""The archivist: drains the logs into the archive, each record exactly once.

What a newcomer would get wrong
    The archive knows where it stands, nobody else does: every step starts from the position
    that the table has committed, never from what a process remembers or a consumer group says.
    A step may run anywhere, twice, in two processes, and be killed at any point. Whoever loses a
    race has written a file that no version lists, loads again, and goes on after the winner.
    The log is told what is archived only once the commit is durable; it trims no sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from deltalake.transaction import AddAction

from ledger.archive.chain import digest
from ledger.archive.errors import ArchiveFailed, ArchiveGap, LogRewound
from ledger.archive.rows import LOGS, Batch, LogName, typed
from ledger.archive.table import Behind, Table

SEGMENT_ROWS = 50_000
"""Rows of one log that one commit takes at most."""
SEGMENT_BYTES = 64 * 1024 * 1024
"""And about so many bytes, where payloads are large."""
READ_ROWS = 500
"""Rows asked of the log at once."""


RACES_MAX = 100
"""So often in a row another archivist may be quicker before it is an error."""
META: dict[str, str] = {
    "events": "archived_offset",
    "verdicts": "archived_verdict_pos",
    "refused": "archived_refused_pos",
}
"""Where the log keeps the first position of each that is not archived yet."""


class Log(Protocol):
    """What the archivist needs of a log."""

    log_id: str

    def read(self, after_offset: int, limit: int) -> Sequence[Any]:
        """Rows (offset, append_ms, run, value) behind an offset, in order."""

    def end(self) -> int:
        """The next offset."""

    def verdicts(self, after_pos: int, limit: int) -> Sequence[Any]:
        """Rows (pos, offset, run, value) behind a position, in order."""

    def refused(self, after_pos: int, limit: int) -> Sequence[Any]:
        """Rows (pos, append_ms, offset, source, reason, value) behind a position, in order."""

    def set_meta(self, key: str, value: str | int) -> None:
        """Keep a named value."""


def read_log(log: Log, name: LogName, position: int, limit: int) -> Batch | None:
    """At most `limit` records of a log from `position` on, less when they are large; None: none."""
    read = {"events": log.read, "verdicts": log.verdicts, "refused": log.refused}[name]
    columns: list[list[Any]] = []
    count = size = 0
    # In small steps, so that rows become columns before the collector walks over them.
    while count < limit and size < SEGMENT_BYTES:
        after = columns[0][-1] if columns else position - 1
        rows = read(after, min(READ_ROWS, limit - count))
        if not rows:
            break
        more = list(zip(*rows, strict=True))
        columns = columns or [[] for _ in more]
        for column, part in zip(columns, more, strict=True):
            column.extend(part)
        count += len(rows)
        size += sum(map(len, more[-1]))
    if not columns:
        return None
    if name == "events":
        offsets, append_ms, runs, values = columns
        return Batch(offsets, offsets, append_ms, runs, values)
    if name == "verdicts":
        places, offsets, runs, values = columns
        return Batch(places, offsets, [None] * count, runs, values)
    places, append_ms, offsets, sources, reasons, values = columns
    return Batch(places, offsets, append_ms, [""] * count, values, (sources, reasons))


class Archivist:
    """Drains `log` into the archive at `location` (made when missing).

    `storage_options` go to the object store; `first` is the log's first position.
    Raises ArchiveForeign, ArchiveFailed, LogRewound.
    """

    def __init__(
        self,
        log: Log,
        location: str | Path,
        *,
        storage_options: dict[str, str] | None = None,
        segment_rows: int = SEGMENT_ROWS,
        first: int = 1,
    ) -> None:
        self.log = log
        self.table = Table.open_or_create(location, log.log_id, storage_options)
        self.refused = 0
        """How often another archivist's commit came first."""
        self._segment_rows = segment_rows
        self._first = first
        self._chains: dict[tuple[LogName, int], bytes] = {}
        self._told: dict[str, int] = {}
        self._check_last()

    def positions(self) -> dict[str, int]:
        """The first position of each log that is not archived, as of the version loaded.

        In the order of `SqliteLog.trim`: events, verdicts, refused.
        """
        return {name: self._next(name) for name in LOGS}

    def step(self) -> int:
        """Archive at most one segment of each log in one commit; the rows archived.

        0 means that nothing was left. Each step with rows is a commit and a file: on a quiet log
        step now and then, or when much is `waiting`. Whenever another archivist commits first,
        it goes on from there. Raises ArchiveGap, LogRewound, ArchiveFailed, and what the log
        raises.
        """
        for _ in range(RACES_MAX):
            self.table.refresh()
            try:
                return self._archive_next()
            except Behind:
                self.refused += 1
                self._chains.clear()
        raise ArchiveFailed(self.table.location, f"others were quicker {RACES_MAX} times in a row")

    def waiting(self) -> int:
        """Events that the log has and the archive, as of the version loaded, has not."""
        return self.log.end() - self._next("events")

    def drain(self) -> int:
        """Step until nothing is left; the rows archived."""
        total = 0
        while rows := self.step():
            total += rows
        return total

    def _archive_next(self) -> int:
        """One commit from where the table stands; the rows archived. Raises Behind."""
        segments = [part for name in LOGS if (part := self._segment(name))]
        if segments:
            self.table.commit(
                [file for file, _ in segments],
                positions={(fact["log"], 0): fact["next"] for _, fact in segments},
                facts=[fact for _, fact in segments],
            )
        else:
            self.table.settle()  # Another's commit may not be on the disk yet.
        for _, fact in segments:
            self._chains[fact["log"], fact["next"]] = bytes.fromhex(fact["digest"])
        self._tell()
        return sum(fact["rows"] for _, fact in segments)

    def _check_last(self) -> None:
        """The last event archived must be the one that the log has there, if it still has it."""
        position = self._next("events")
        if position == self._first:
            return
        there = self.log.read(position - 2, 1)
        if self.log.end() < position:
            raise LogRewound("events", position - 1)
        if there and there[0][0] == position - 1 and there[0][3] != self.table.last("events").value:
            raise LogRewound("events", position - 1)

    def _tell(self) -> None:
        """Keep in the log how far the archive is: what is below may be trimmed."""
        for name, position in self.positions().items():
            if self._told.get(name) != position:
                self.log.set_meta(META[name], position)
                self._told[name] = position

    def _next(self, name: LogName) -> int:
        position = self.table.next_position(name)
        return self._first if position is None else position

    def _segment(self, name: LogName) -> tuple[AddAction, dict[str, Any]] | None:
        """The next rows of a log, written but not committed, and the facts of the commit."""
        position = self._next(name)
        batch = read_log(self.log, name, position, self._segment_rows)
        if batch is None:
            return None
        if batch.positions[0] != position:
            self.table.refresh()
            if self._next(name) != position:
                raise Behind  # Archived and trimmed by somebody else since we looked.
            raise ArchiveGap(name, position, batch.positions[0])
        before = self._chain(name, position)
        after = digest(before, batch.positions, batch.values)
        count = len(batch.positions)
        table = typed(name, batch)
        chain = pa.array([None] * (count - 1) + [after], pa.binary())
        facts = {
            "log": name,
            "partition": 0,
            "first": position,
            "next": batch.positions[-1] + 1,
            "rows": count,
            "before": before.hex(),
            "digest": after.hex(),
        }
        return self.table.write(table.set_column(table.num_columns - 1, "chain", chain)), facts

    def _chain(self, name: LogName, position: int) -> bytes:
        known = self._chains.pop((name, position), None)
        return self.table.last(name).chain if known is None else known
