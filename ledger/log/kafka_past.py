"""Reads what is in a topic already, a page at a time, for whoever looks back.

What a newcomer would get wrong
    A page ends where the partition ended when it was asked for. Pages in a row go on with what
    was fetched; another place is a seek.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from ledger.log.kafka_asker import Asker
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import OutOfRange
from ledger.log.kafka_start import start

FETCH_MS = 500
FETCH_WAIT_MS = 50
TRIMS_MAX = 5
"""Trims that may come between a page's bounds and its records, before it is an error."""


class Past:
    """One consumer without a group. Belongs to the loop; connects when first asked."""

    def __init__(self, place: Place, asker: Asker) -> None:
        self._place, self._asker = place, asker
        self._consumer: Any = None
        self._at: tuple[TopicPartition, int] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that there is, and the next one to be written."""
        found = await self._asker.bounds(self._place.topic(topic), [partition])
        return found[partition]

    async def page(self, topic: str, partition: int, begin: int, limit: int) -> list[Any]:
        """At most `limit` of Kafka's records from offset `begin` on; `topic` by its short name."""
        async with self._one_at_a_time:
            for _ in range(TRIMS_MAX):
                with suppress(OutOfRange):  # It was trimmed since we asked where it begins.
                    return await self._page(topic, partition, begin, limit)
            return await self._page(topic, partition, begin, limit)

    async def _page(self, topic: str, partition: int, begin: int, limit: int) -> list[Any]:
        where = TopicPartition(self._place.topic(topic), partition)
        first, end = await self.bounds(topic, partition)
        begin = max(begin, first)
        if begin >= end or limit <= 0:
            return []
        consumer = await self._ready()
        if self._at != (where, begin):
            consumer.assign([where])
            consumer.seek(where, begin)
        self._at = None  # Until this has worked.
        found: list[Any] = []
        while len(found) < limit and await consumer.position(where) < end:
            taken = await consumer.getmany(
                where, timeout_ms=FETCH_MS, max_records=limit - len(found)
            )
            found += taken.get(where, [])
        at = await consumer.position(where)
        self._at = (where, at)
        return found

    async def close(self) -> None:
        """Let go of the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _ready(self) -> Any:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._place.client(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_partition_fetch_bytes=4 * 2**20,
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            await start(consumer, self._place)
            self._consumer = consumer
        return self._consumer
