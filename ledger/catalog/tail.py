"""The live tail: what a log holds and the archive does not yet, as rows of the archive.

What a newcomer would get wrong
    The tail begins where the version of the archive that is asked ends, per partition, and is
    read to the end of the log: no record is twice there, none is missing, or it is said.
    It is kept from one question to the next and read on, until there is a newer version.
    It stands in memory, so there is a limit; past it nobody is answered by half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from ledger.archive.archivist import Log, read_log
from ledger.archive.errors import ArchiveGap, LogRewound
from ledger.archive.rows import LOGS, LogName, typed
from ledger.archive.table import Table
from ledger.catalog.errors import TailTooLong

if TYPE_CHECKING:
    from ledger.log.kafka import KafkaLog
    from ledger.log.kafka_verdicts import Published

TAIL_ROWS_MAX = 1_000_000
"""More rows of a log than this are not read into memory, about 500 MB; archive them first."""
READ_ROWS = 50_000


class Tail(Protocol):
    """What the catalog needs of a log that is in use."""

    log_id: str

    def clear(self) -> None:
        """Begin anew, behind another version of the archive."""

    def more(self, name: LogName, table: Table | None) -> pa.Table | None:
        """The whole tail of a log behind `table`, if it has grown since last asked.

        Raises ArchiveGap where the log no longer holds what comes next, TailTooLong.
        """


class FileTail:
    """The tail of a log that is a file; `first` is its first position."""

    def __init__(self, log: Log, first: int = 1) -> None:
        self.log_id = log.log_id
        self._log, self._first = log, first
        self._parts: dict[LogName, list[pa.Table]] = {}

    def clear(self) -> None:
        """Begin anew."""
        self._parts = {}

    def more(self, name: LogName, table: Table | None) -> pa.Table | None:
        """See `Tail`."""
        parts = self._parts.setdefault(name, [])
        archived = None if table is None else table.next_position(name)
        position = self._first if archived is None else archived
        if parts:
            position = parts[-1]["position"][-1].as_py() + 1
        rows = sum(part.num_rows for part in parts)
        before = len(parts)
        while (batch := read_log(self._log, name, position, READ_ROWS)) is not None:
            if batch.positions[0] != position:
                raise ArchiveGap(name, position, batch.positions[0])
            parts.append(typed(name, batch))
            position = batch.positions[-1] + 1
            rows += len(batch.positions)
            if rows > TAIL_ROWS_MAX:
                self._parts[name] = []
                raise TailTooLong(name, rows, TAIL_ROWS_MAX)
        return pa.concat_tables(parts) if len(parts) > before else None


class KafkaTail:
    """The tail of every partition of a log on Kafka."""

    def __init__(self, log: KafkaLog) -> None:
        self._look = log.look()
        self.log_id = self._look.log_id()
        self._partitions = log.partitions
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._parts: dict[LogName, list[pa.Table]] = {name: [] for name in LOGS}
        self._next: dict[tuple[LogName, int], int] = {}
        self._rules: dict[int, Published] = {}

    def more(self, name: LogName, table: Table | None) -> pa.Table | None:
        """See `Tail`. Raises LogRewound where the log ends before the archive does."""
        numbers = range(self._partitions if name in ("events", "verdicts") else 1)
        bounds = self._look.bounds(name, numbers)
        for number in numbers:
            begin, end = bounds[number]
            if (name, number) not in self._next:
                self._next[name, number] = self._start(name, number, begin, table)
            position = self._next[name, number]
            if begin > position:
                raise ArchiveGap(name, position, begin, number)
            if end < position:
                raise LogRewound(name, position - 1)
        parts = self._parts[name]
        waiting = sum(bounds[number][1] - self._next[name, number] for number in numbers)
        rows = sum(part.num_rows for part in parts) + waiting
        if rows > TAIL_ROWS_MAX:
            raise TailTooLong(name, rows, TAIL_ROWS_MAX)
        if not waiting:
            return None
        for number in numbers:
            self._read(name, number, bounds[number][1], table)
        return pa.concat_tables(parts) if parts else None

    def _start(self, name: LogName, number: int, begin: int, table: Table | None) -> int:
        """Where the tail of a partition begins: behind the archive, and what is gone for good."""
        from ledger.archive.holes import segment_behind

        archived = (table.next_position(name, number) if table else None) or 0
        accepted = self._look.lost(name, number) if begin > archived else ()
        return segment_behind(table, (name, number), begin, accepted).next

    def _read(self, name: LogName, number: int, end: int, table: Table | None) -> None:
        """Take in a partition up to before `end`."""
        from ledger.archive.drain import read_on
        from ledger.archive.segment import Segment

        while (position := self._next[name, number]) < end:
            segment = Segment(name, number, position)
            if not read_on(self._look, segment, min(READ_ROWS, end - position)):
                break  # Marks of transactions are all that is left.
            rule = self._rule(name, number, table)
            self._parts[name].append(segment.rows(self._partitions, rule))
            self._next[name, number] = segment.next

    def _rule(self, name: LogName, number: int, table: Table | None) -> Published:
        """Which verdicts of this partition count from where the archive ends on."""
        from ledger.archive.committer import heard
        from ledger.log.kafka_verdicts import Published

        if name != "verdicts":
            return Published()
        if number not in self._rules:
            said = (0, -1) if table is None else heard(table, number)
            self._rules[number] = Published(*said)
        return self._rules[number]
