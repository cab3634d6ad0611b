"""Looks at a whole log on Kafka from outside: where partitions end, what is in them, who judged.

What a newcomer would get wrong
    Clients hear what concerns their runs; commands ask about everything, now and then. Bounds of
    all partitions are one question, so whoever follows a log asks that first and reads only
    where something is new.
    `judged` is what judges last wrote down, once a second; verdicts are there before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_identity import log_id
from ledger.log.kafka_lost import Lost
from ledger.log.kafka_place import Place, group_of
from ledger.log.kafka_refused import lost

if TYPE_CHECKING:
    from ledger.log.kafka_session import Session

T = TypeVar("T")
RUN_CHARS_MAX = 128
"""Characters of a run's id; longer keys among the checkpoints are the judge's own."""
AT_ONCE = 8
"""Partitions whose checkpoints are read at the same time."""
PAGE_RECORDS = 5_000


class KafkaLook:
    """Everything of the log at `place`. Every method raises LogUnreachable, LogClosed."""

    def __init__(
        self, place: Place, session: Callable[[], Session],
        ask: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:  # fmt: skip
        self._place, self._session, self._ask = place, session, ask

    def log_id(self) -> str:
        """Which log this is, whatever its address."""
        return str(self._ask(log_id(self._place)))

    def bounds(self, topic: str, partitions: Collection[int]) -> dict[int, tuple[int, int]]:
        """First and next offset of these partitions; `topic` by its short name."""
        asked = self._session().asker.bounds(self._place.topic(topic), list(partitions))
        found: dict[int, tuple[int, int]] = self._ask(asked)
        return found

    def page(self, topic: str, partition: int, begin: int, limit: int) -> list[Any]:
        """At most `limit` of Kafka's records from offset `begin` on, in order."""
        found: list[Any] = self._ask(self._session().past.page(topic, partition, begin, limit))
        return found

    def lost(self, topic: str, partition: int) -> list[Lost]:
        """What was accepted as lost of a partition; `topic` by its short name."""
        found: list[Lost] = self._ask(lost(self._place, topic, partition))
        return found

    def judged(self) -> dict[int, int]:
        """The next offset of each partition as its judge last wrote it down, where one did."""
        asked = self._session().asker.judged(group_of(self._place), self._place.topic("events"))
        found: dict[int, int] = self._ask(asked)
        return found

    def runs(self, partitions: Collection[int]) -> set[str]:
        """The runs that judges of these partitions hold or remember, and those recorded since."""
        found: set[str] = set()
        todo = list(partitions)
        judged = self.judged()
        while todo:
            chosen, todo = todo[:AT_ONCE], todo[AT_ONCE:]
            found |= self._ask(self._kept(chosen))
        for partition, (first, end) in self.bounds("events", partitions).items():
            at = max(first, judged.get(partition, 0))
            while at < end and (page := self.page("events", partition, at, PAGE_RECORDS)):
                found |= {(one.key or b"").decode(errors="replace") for one in page}
                at = page[-1].offset + 1
        return {run for run in found if 0 < len(run) <= RUN_CHARS_MAX} - {"policy"}

    async def _kept(self, partitions: list[int]) -> set[str]:
        group = group_of(self._place)
        reads = [Checkpoints(self._place, group, number).load() for number in partitions]
        return {key for rows in await asyncio.gather(*reads) for key in rows}
