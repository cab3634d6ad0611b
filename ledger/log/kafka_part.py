"""One partition of a log on Kafka, to be read from any place by whoever looks back.

What a newcomer would get wrong
    Positions are exclusive, as in a log that is a file, but the first offset is 0: what comes
    after -1 is everything. A run stands in one partition (`KafkaLog.part_of`), and between
    partitions there is no order.
    A verdict's position is its offset in the verdict topic; verdicts that do not count (of a
    judge who was replaced) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ledger.log.kafka_verdicts import ANNOUNCED, Heard, Published
from ledger.log.rows import Row, VerdictRow
from ledger.wire import UnreadableEvent

if TYPE_CHECKING:
    from ledger.log.kafka_session import Session

PAGE_RECORDS = 5_000
Ask = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine on the loop, and raises LogError where that fails."""


class KafkaPart:
    """Partition `number`. Every method raises LogUnreachable, LogClosed."""

    def __init__(self, number: int, session: Callable[[], Session], ask: Ask) -> None:
        self.number = number
        self._session, self._ask = session, ask
        self._rule = Published()
        self._ruled = -1
        """The rule has heard all up to this position."""

    def start(self) -> int:
        """The lowest offset still here; `end()` where there is none."""
        return int(self._bounds("events")[0])

    def end(self) -> int:
        """The offset that the next event gets."""
        return int(self._bounds("events")[1])

    def read(self, after_offset: int, limit: int) -> list[Row]:
        """At most `limit` events after `after_offset`, in order."""
        return [
            Row(one.offset, one.timestamp, _text(one.key), one.value or b"")
            for one in self._page("events", after_offset, limit)
        ]

    def read_run(self, run: str, limit: int, *, after_offset: int = -1) -> list[Row]:
        """At most `limit` events of one run, in order. Scans the partition: 3 s a million."""
        found: list[Row] = []
        while len(found) < limit and (rows := self.read(after_offset, PAGE_RECORDS)):
            found += [row for row in rows if row.run == run]
            after_offset = rows[-1].offset
        return found[:limit]

    def verdicts(self, after_pos: int, limit: int, run: str | None = None) -> list[VerdictRow]:
        """At most `limit` verdicts that count after `after_pos`, of one run or of all, in order."""
        found: list[VerdictRow] = []
        if self._ruled != after_pos:
            self._begin_at(after_pos)
        while len(found) < limit:
            records = self._page("verdicts", self._ruled, min(limit, PAGE_RECORDS))
            if not records:
                break
            for one in records:
                self._ruled = one.offset
                row = self._row(one)
                if row is not None and row.pos > after_pos and run in (None, row.run):
                    found.append(row)
                    if len(found) == limit:
                        break
        return found

    def verdicts_end(self) -> int:
        """The position of the last verdict, -1 before the first."""
        return int(self._bounds("verdicts")[1]) - 1

    def _begin_at(self, after_pos: int) -> None:
        """Find a place from which the generation in force is known there."""
        self._rule, self._ruled = Published(), -1
        if after_pos < 0:
            return
        heard: Heard = self._ask(self._session().heard(self.number))
        if heard.pos <= after_pos + 1:
            self._rule, self._ruled = Published(heard.generation), heard.pos - 1

    def _row(self, record: Any) -> VerdictRow | None:
        try:
            verdict = self._rule.take(record.key, record.value or b"")
        except UnreadableEvent:
            if record.key == ANNOUNCED:
                return None
            return VerdictRow(record.offset, -1, _text(record.key), record.value or b"")
        if verdict is None:
            return None
        return VerdictRow(record.offset, verdict.offset, _text(record.key), record.value)

    def _page(self, topic: str, after: int, limit: int) -> list[Any]:
        found: list[Any] = self._ask(
            self._session().past.page(topic, self.number, after + 1, limit)
        )
        return found

    def _bounds(self, topic: str) -> tuple[int, int]:
        found: tuple[int, int] = self._ask(self._session().past.bounds(topic, self.number))
        return found


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")
