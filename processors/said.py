"""What judges before us said of a partition, at hand as its events come; never all of it at once.

What a newcomer would get wrong
    What counts in a verdict partition is in the order of the events, because `Published` lets
    nothing count on an event at or before the last one. So once a verdict on a later event was
    read, none on an earlier one is to come, and any window is wide enough.
    That rule leaves nothing out that was meant to count: a judge publishes in the order in which
    it folds, and what failed once is not followed by more (`kafka_outbox`). Who takes over from
    an old checkpoint applies all that stands before its announcement, and speaks only of later
    events. Of what comes behind the announcement by an older generation nothing counts.
    Up to which event others have decided is known only when the end was read.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection
from contextlib import aclosing
from typing import NamedTuple

from ledger.core.verdicts import Verdict
from ledger.log.kafka_identity import KafkaError
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_start import KafkaUnreachable
from ledger.log.kafka_verdicts import ANNOUNCED, Heard, Published
from ledger.wire import UnreadableEvent

WINDOW = 5_000
"""About so many verdicts are at hand; a judge may take over a dozen partitions at once."""
NOT_KNOWN = sys.maxsize


class Waiting(NamedTuple):
    """A verdict that counts, and where it stands: `heard` was in force there."""

    heard: Heard
    verdict: Verdict


class Said:
    """The verdicts that count from `start` to before `end` of partition `number`, in order.

    `names`: only those on runs with these keys. Call `ahead` before `of`.
    """

    def __init__(
        self,
        place: Place,
        number: int,
        start: Heard,
        end: int,
        *,
        names: Collection[bytes] | None = None,
    ) -> None:
        self._place, self._topic, self._number = place, place.topic("verdicts"), number
        self._at, self._end, self._names = start.pos, end, names
        self._rule = Published(start.generation)
        self._waiting: deque[Waiting] = deque()

    @property
    def decided(self) -> int:
        """The offset from which on nothing was said; NOT_KNOWN before the end was read."""
        return self._rule.last_offset + 1 if self._at >= self._end else NOT_KNOWN

    @property
    def place(self) -> Heard:
        """From where to read again what was not asked for yet."""
        return self._waiting[0].heard if self._waiting else Heard(self._at, self._rule.generation)

    def of(self, offset: int) -> Verdict | None:
        """What was said of the event at this offset, which is above all that were asked before."""
        assert offset <= self._rule.last_offset or self._at >= self._end
        waiting = self._waiting
        while waiting and waiting[0].verdict.offset <= offset:
            verdict = waiting.popleft().verdict
            if verdict.offset == offset:
                return verdict
        return None

    async def first(self, default: int) -> int:
        """The offset of the first event that something was said of; `default` without any."""
        await self.ahead(0)
        return self._waiting[0].verdict.offset if self._waiting else default

    async def ahead(self, offset: int) -> None:
        """Have at hand what was said of the events up to this offset. Raises KafkaUnreachable."""
        while self._at < self._end and self._rule.last_offset < offset:
            try:
                async with Reader(self._place) as reader:
                    await self.read(reader)
            except (KafkaError, OSError) as problem:
                why = str(problem) or type(problem).__name__
                raise KafkaUnreachable(self._place.bootstrap, why) from None

    async def read(self, reader: Reader) -> None:
        """Read on until the window is full, or to the end."""
        begin, _ = await reader.bounds(self._topic, self._number)
        self._at = max(self._at, begin)
        found = reader.read(self._topic, self._number, self._at, self._end)
        async with aclosing(found) as lists:
            async for records in lists:
                for record in records:
                    self._take(record.offset, record.key, record.value or b"")
                self._at = records[-1].offset + 1
                if len(self._waiting) >= WINDOW:
                    return
        self._at = max(self._at, self._end)

    def _take(self, pos: int, key: bytes | None, value: bytes) -> None:
        if self._names is not None and key != ANNOUNCED and key not in self._names:
            return
        heard = Heard(pos, self._rule.generation)
        try:
            verdict = self._rule.take(key, value)
        except UnreadableEvent:
            return  # Nobody could act on it.
        if verdict is not None:
            self._waiting.append(Waiting(heard, verdict))
