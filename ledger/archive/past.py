"""Hands archived records back in their order, as Kafka gave them, to whoever folds them again.

What a newcomer would get wrong
    Compacted files are sorted by run, and files overlap. So a stretch is gathered from every
    file that has some of it, a window of positions at a time: memory does not grow with it.
    What is there is known by the bounds that each segment keeps (`chain`), not by its rows: a
    position that was never used and one that was lost look alike.
    A key comes back as text, and no value as an empty one: both are refused, as they were. That
    the log gave a record its time is taken for granted, as `topics.toml` wants it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError

from ledger.archive.chain import Link
from ledger.archive.errors import ArchiveFailed, ArchiveForeign, short
from ledger.archive.rows import LogName
from ledger.archive.table import Table
from ledger.log.kafka_verdicts import ANNOUNCED

WINDOW = 20_000
"""Positions gathered at once, some 10 MB: 4 microseconds a record, half as much at 100,000."""
RECORDS_MAX = 2_000
BY_THE_LOG = 1
"""The type of a timestamp that the log gave (LogAppendTime)."""
_COLUMNS = ["position", "append_ms", "run", "type", "payload", "raw"]


class Archived(NamedTuple):
    """A record with the fields that Kafka's have."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    partition: int
    topic: str
    timestamp_type: int = BY_THE_LOG
    headers: tuple[tuple[str, bytes], ...] = ()


class Past:
    """One version of the archive at `location`, of the log `log_id` on Kafka.

    Everything raises ArchiveFailed; opening also ArchiveMissing, ArchiveForeign.
    One thread at a time.
    """

    def __init__(
        self, location: str | Path, log_id: str, storage_options: dict[str, str] | None = None
    ) -> None:
        table = Table.open(location, storage_options)
        if table.log_id != log_id:
            raise ArchiveForeign(str(location), table.log_id, log_id)
        self._location, self._dataset = str(location), table.dataset()
        self._windows: dict[LogName, tuple[int, int, pa.Table]] = {}

    def missing(
        self, log: LogName, partition: int, first: int, until: int
    ) -> list[tuple[int, int]]:
        """What it does not have of positions `first` to before `until`: (first, last) of each."""
        found = []
        from_there = (pc.field("position") >= first) & pc.field("chain").is_valid()
        chains = self._read(log, partition, from_there, ["chain"])["chain"].to_pylist()
        for begin, end in sorted(bounds for one in chains if (bounds := Link.of(one).bounds)):
            if first < min(begin, until):
                found.append((first, min(begin, until) - 1))
            first = max(first, end)
        return [*found, (first, until - 1)] if first < until else found

    def announcements(self, partition: int) -> list[bytes]:
        """What judges announced in a verdict partition, as bytes."""
        announced = self._read("verdicts", partition, pc.field("type") == "generation", ["payload"])
        return [text.encode() for text in announced["payload"].to_pylist()]

    def some(
        self, log: LogName, topic: str, partition: int, at: int, until: int
    ) -> tuple[list[Archived], int]:
        """The next records from position `at` to before `until`, in order; where to go on.

        They may be none where no position is used. `topic` is what they say they are from.
        """
        place, end, rows = self._windows.get(log, (-1, -1, None))
        if place != at:
            end = min(at + WINDOW, until)
            position = pc.field("position")
            rows = self._read(log, partition, (position >= at) & (position < end), _COLUMNS)
            rows = rows.sort_by("position")
        given, rest = rows.slice(0, RECORDS_MAX), rows.slice(RECORDS_MAX)
        self._windows.pop(log, None)
        at = end
        if rest.num_rows:
            at = rest["position"][0].as_py()
            self._windows[log] = at, end, rest
        return [
            Archived(offset, append_ms, _key(run, kind), _value(text, raw), partition, topic)
            for offset, append_ms, run, kind, text, raw in zip(
                *(given[name].to_pylist() for name in _COLUMNS), strict=True
            )
        ], at

    def _read(
        self, log: LogName, partition: int, which: pc.Expression, columns: list[str]
    ) -> pa.Table:
        """These rows of a log and partition, unsorted; few files and groups at a time."""
        mine = (pc.field("log") == log) & (pc.field("partition") == partition)
        try:
            return self._dataset.to_table(
                columns, filter=mine & which, batch_readahead=1, fragment_readahead=1
            )
        except (OSError, pa.ArrowException, DeltaError) as problem:
            raise ArchiveFailed(self._location, short(problem)) from problem


def _key(run: str, kind: str | None) -> bytes | None:
    return ANNOUNCED if kind == "generation" else run.encode() or None


def _value(text: str | None, raw: bytes | None) -> bytes:
    return raw or b"" if text is None else text.encode()
