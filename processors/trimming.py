"""Deletes from Kafka, now and then, what an archivist has archived and nobody needs there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from ledger.archive.errors import ArchiveFailed
from ledger.log.kafka_place import Place
from ledger.log.kafka_trim import NotTrimmed, Where, trim
from ledger.topics import Topic

TRIM_S = (1.0, 60.0)
"""It is done so often: after a tenth of the time that records are kept, within these."""


class Trimming:
    """Of these topics at `place`, which keep what is archived as they say, or for `keep_ms`.

    `trimmed` counts offsets, `failures` how often not all could be deleted.
    """

    def __init__(
        self,
        place: Place,
        topics: Mapping[str, Topic],
        keep_ms: int | None,
        say: Callable[[str], object],
    ) -> None:
        self._place, self._say = place, say
        kept = {
            name: topic.keep_ms if keep_ms is None else keep_ms for name, topic in topics.items()
        }
        self._keep_ms = {name: ms for name, ms in kept.items() if ms is not None}
        self.trimmed = self.failures = 0

    async def run(
        self, heads: Callable[[], Awaitable[dict[Where, int]]], clock_ms: Callable[[], int]
    ) -> None:
        """Do it for ever.

        `heads` gives what is archived durably: each log and partition up to before a position.
        `clock_ms` is the log's own clock, as far as it is archived.
        """
        shortest_s, longest_s = TRIM_S
        every_s = min(longest_s, max(shortest_s, min(self._keep_ms.values()) / 10_000))
        while True:
            await asyncio.sleep(every_s)
            try:
                if archived := await heads():
                    self.trimmed += await trim(
                        self._place, archived, keep_ms=self._keep_ms, now_ms=clock_ms()
                    )
            except (ArchiveFailed, NotTrimmed) as problem:
                self.failures += 1
                self._say(str(problem))
