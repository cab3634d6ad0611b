"""Reads a stretch of one partition: what a judge needs once, when it takes a partition over.

What a newcomer would get wrong
    Kafka's own marks of transactions take up offsets and are never handed out, so "the last
    record was read" is no end: a stretch ends where the consumer's position has passed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError
from aiokafka.errors import NoOffsetForPartitionError as NoPlace
from aiokafka.errors import OffsetOutOfRangeError as OutOfRange

from ledger.log.kafka_place import Place
from ledger.log.kafka_start import start
from ledger.log.kafka_unreadable import Unreadable, name_unreadable

__all__ = ["NoPlace", "OutOfRange", "Reader"]

FETCH_MS = 500
FETCH_WAIT_MS = 10
"""Also the pause after a topic's leader was not known, as of every topic that is new to a reader:
with aiokafka's 100 ms it is most of the time that connecting takes."""
RECORDS_MAX = 5_000
ANSWER_S = 30.0
"""So long a leader may not answer who has just begun."""


class Reader:
    """A consumer without a group; `async with` starts and stops it.

    `committed` leaves out what transactions wrote that are open or were given up.
    """

    def __init__(self, place: Place, *, committed: bool = False) -> None:
        self._place = place
        self._consumer = AIOKafkaConsumer(
            **place.client(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed" if committed else "read_uncommitted",
            max_partition_fetch_bytes=4 * 2**20,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            retry_backoff_ms=FETCH_WAIT_MS,
        )

    async def __aenter__(self) -> Reader:
        await start(self._consumer, self._place)
        name_unreadable(self._consumer._fetcher, _refuse)
        # aiokafka's own tasks must have begun: ended before, they cancel whoever ends them.
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that there is, and the next one to be written."""
        return (await self.bounds_of(topic, [partition]))[partition]

    async def bounds_of(self, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """The same of several partitions."""
        where = [TopicPartition(topic, partition) for partition in partitions]
        begin = await self._consumer.beginning_offsets(where)
        end = await self._consumer.end_offsets(where)
        return {one.partition: (begin[one], end[one]) for one in where}

    async def first_since(self, topic: str, partition: int, at_ms: int) -> int | None:
        """The first offset that the log took in at this time or later; None: there is none."""
        where = TopicPartition(topic, partition)
        found = (await self._consumer.offsets_for_times({where: at_ms}))[where]
        return None if found is None else int(found.offset)

    async def may_read(self, *topics: str) -> None:
        """Return if we may. Raises KafkaError; a consumer would wait without a word."""
        all_ = [TopicPartition(topic, 0) for topic in topics]
        ends = await self._consumer.end_offsets(all_)
        self._consumer.assign(all_)
        for where in all_:
            self._consumer.seek(where, ends[where])
        try:
            async with asyncio.timeout(ANSWER_S):
                # Known from the first answer on.
                while None in map(self._consumer.highwater, all_):
                    await self._consumer.getmany(timeout_ms=FETCH_WAIT_MS)
        except TimeoutError:
            said = f"the leader of partition 0 of {', '.join(topics)} does not answer"
            raise KafkaTimeoutError(said) from None

    async def read(
        self, topic: str, partition: int, begin: int, end: int
    ) -> AsyncGenerator[list[Any], None]:
        """Everything from `begin` to before `end`, as lists of Kafka's records.

        Raises Unreadable where that cannot be read, after all that is before it.
        """
        if begin >= end:
            return
        where = TopicPartition(topic, partition)
        self._consumer.assign([where])
        self._consumer.seek(where, begin)
        while await self._consumer.position(where) < end:
            found = await self._consumer.getmany(
                where, timeout_ms=FETCH_MS, max_records=RECORDS_MAX
            )
            for records in found.values():
                if records[-1].offset < end:
                    yield records
                    continue
                if kept := [record for record in records if record.offset < end]:
                    yield kept


def _refuse(problem: Unreadable) -> None:
    raise problem
