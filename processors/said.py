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
from collections.abc import Collection, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from ledger.core.verdicts import Verdict
from ledger.log.kafka_identity import KafkaError
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_start import KafkaUnreachable
from ledger.log.kafka_verdicts import ANNOUNCED, Heard, Published
from ledger.wire import UnreadableEvent

from .archived import Archived

WINDOW = 5_000
"""About so many verdicts are at hand; a judge may take over a dozen partitions at once."""
NOT_KNOWN = sys.maxsize


class Waiting(NamedTuple):
    """A verdict that counts, and where it stands: `heard` was in force there."""

    heard: Heard
    verdict: Verdict


class Said:
    """The verdicts that count from `start` to before `end` of partition `number`, in order.

    What is before `begin` is read from the archive. `names`: only those on runs with these keys.
    Where `gone_to` is above `start`, what is between is nowhere any more.
    Call `ahead` before `of`. Reading raises KafkaUnreachable, ArchiveFailed.
    """

    def __init__(
        self,
        place: Place,
        number: int,
        start: Heard,
        end: int,
        *,
        archived: Archived | None = None,
        begin: int = 0,
        gone_to: int = 0,
        names: Collection[bytes] | None = None,
    ) -> None:
        self._place, self._topic, self._number = place, place.topic("verdicts"), number
        self._start, self._at, self._end = start, max(start.pos, gone_to), end
        self._names = names
        self._archived, self._begin = archived, begin
        self._rule = Published(start.generation)
        self._waiting: deque[Waiting] = deque()
        self._first = NOT_KNOWN if gone_to > start.pos else -1
        self._given = False

    @property
    def whole_from(self) -> int:
        """A run that began before this offset may have been told what nobody can know any more."""
        return self._first + 1

    @property
    def decided(self) -> int:
        """The offset from which on nothing was said; NOT_KNOWN before the end was read."""
        return self._rule.last_offset + 1 if self._at >= self._end else NOT_KNOWN

    @property
    def place(self) -> Heard:
        """From where to read again what was not asked for yet."""
        if not self._given:
            return self._start  # Who reads again must see what is gone, too.
        return self._waiting[0].heard if self._waiting else Heard(self._at, self._rule.generation)

    def of(self, offset: int) -> Verdict | None:
        """What was said of the event at this offset, which is above all that were asked before."""
        assert offset <= self._rule.last_offset or self._at >= self._end
        waiting = self._waiting
        while waiting and waiting[0].verdict.offset <= offset:
            verdict, self._given = waiting.popleft().verdict, True
            if verdict.offset == offset:
                return verdict
        return None

    async def ahead(self, offset: int) -> None:
        """Have at hand what was said of the events up to this offset."""
        while self._at < self._end and self._rule.last_offset < offset:
            try:
                async with Reader(self._place) as reader:
                    await self.read(reader)
            except (KafkaError, OSError) as problem:
                why = str(problem) or type(problem).__name__
                raise KafkaUnreachable(self._place.bootstrap, why) from None

    async def read(self, reader: Reader) -> None:
        """Read on until the window is full, or to the end."""
        while self._at < self._begin and self._archived is not None:
            records, at = await self._archived.some("verdicts", self._at, self._begin)
            self._take(records, at)
            if len(self._waiting) >= WINDOW:
                return
        found = reader.read(self._topic, self._number, self._at, self._end)
        async with aclosing(found) as lists:
            async for records in lists:
                self._take(records, records[-1].offset + 1)
                if len(self._waiting) >= WINDOW:
                    return
        self._at = max(self._at, self._end)

    def _take(self, records: Sequence[Any], at: int) -> None:
        """Take in what counts of the next records; it goes on at `at`."""
        rule, names = self._rule, self._names
        for record in records:
            if names is not None and record.key != ANNOUNCED and record.key not in names:
                continue
            heard = Heard(record.offset, rule.generation)
            try:
                verdict = rule.take(record.key, record.value or b"")
            except UnreadableEvent:
                continue  # Nobody could act on it.
            if verdict is not None:
                self._first = min(self._first, verdict.offset)
                self._waiting.append(Waiting(heard, verdict))
        self._at = at
