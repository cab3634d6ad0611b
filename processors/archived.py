"""What the topics of a partition no longer have, from the archive, for who takes it over.

What a newcomer would get wrong
    PyArrow and Delta are loaded by the first question, and a judge that finds all it needs in
    Kafka asks none. They would be half of its memory.
    An archive that cannot be used is as good as none; `why` says what is wrong with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ledger.errors import LedgerError
from ledger.log.kafka_identity import log_id
from ledger.log.kafka_place import Place

if TYPE_CHECKING:
    from ledger.archive.past import Past
    from ledger.archive.rows import LogName

Range = tuple[int, int]
"""The first and the last of offsets in a row."""


class Archived:
    """Of partition `number`, the archive at `location`; empty: there is none.

    All but opening raises ArchiveFailed.
    """

    def __init__(self, place: Place, number: int, location: str) -> None:
        self._place, self._number, self._location = place, number, location
        self._past: Past | None = None
        self.why = "" if location else "no archive was named (--archive, LEDGER_ARCHIVE)"

    async def missing(self, log: LogName, first: int, until: int) -> list[Range]:
        """What the archive does not have of offsets `first` to before `until`."""
        past = await self._opened() if first < until else None
        if past is None:
            return [(first, until - 1)] if first < until else []
        return await asyncio.to_thread(past.missing, log, self._number, first, until)

    async def announcements(self) -> list[bytes]:
        """What judges announced, as bytes; nothing where there is no archive."""
        past = await self._opened()
        return [] if past is None else await asyncio.to_thread(past.announcements, self._number)

    async def some(self, log: LogName, at: int, until: int) -> tuple[Sequence[Any], int]:
        """The next records from `at` to before `until`, none of it missing; where to go on."""
        past = await self._opened()
        assert past is not None
        topic = self._place.topic(log)
        return await asyncio.to_thread(past.some, log, topic, self._number, at, until)

    async def one(self, log: LogName, at: int) -> Any | None:
        """The record at an offset; None where the archive has none there."""
        if at < 0 or await self.missing(log, at, at + 1):
            return None
        records, _ = await self.some(log, at, at + 1)
        return records[0] if records else None

    async def _opened(self) -> Past | None:
        if self._past is None and not self.why:
            from ledger.archive.past import Past

            try:
                log = await log_id(self._place)
                self._past = await asyncio.to_thread(Past, self._location, log)
            except LedgerError as problem:
                self.why = str(problem)
        return self._past
