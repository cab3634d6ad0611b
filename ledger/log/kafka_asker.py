"""Asks brokers where partitions begin and end, and how far judges are.

What a newcomer would get wrong
    A broker answers one connection in order, so a question behind a waiting fetch waits too.
    Here are connections on which nothing waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorForGroupError,
)

from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_start import start, unreachable
from ledger.log.kafka_verdicts import Heard

END_S = 3.0
LOOKS_MAX, LOOK_S = 50, 0.1


class Asker:
    """Belongs to the loop; connects when first asked. Raises KafkaError, OSError."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._reader: Reader | None = None
        self._admin: Any = None

    async def __aenter__(self) -> Asker:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._reader is not None:
            await quietly(self._reader.__aexit__())
        if self._admin is not None:
            await quietly(self._admin.close())

    async def bounds(self, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """First and next offset of each."""
        if self._reader is None:
            self._reader = await Reader(self._place).__aenter__()
        return await self._reader.bounds_of(topic, partitions)

    async def heard(self, group: str, events: str) -> dict[int, Heard]:
        """What the judges of `group` wrote down beside the offsets of their checkpoints."""
        found = await self._kept(group, events)
        return {partition: Heard.of(kept.metadata or "") for partition, kept in found.items()}

    async def judged(self, group: str, events: str) -> dict[int, int]:
        """The next offset of each partition, as of the last checkpoint of its judge."""
        found = await self._kept(group, events)
        return {partition: int(kept.offset) for partition, kept in found.items()}

    async def _kept(self, group: str, events: str) -> dict[int, Any]:
        if self._admin is None:
            admin = AIOKafkaAdminClient(**self._place.client())
            await start(admin, self._place)
            self._admin = admin
        found = await self._patiently(group)
        return {
            where.partition: kept
            for where, kept in found.items()
            if where.topic == events and kept.offset >= 0
        }

    async def _patiently(self, group: str) -> dict[TopicPartition, Any]:
        """What is kept of a group. The first who asks a new broker is told to come again."""
        for _ in range(LOOKS_MAX):
            with suppress(GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError):
                return dict(await self._admin.list_consumer_group_offsets(group))
            await asyncio.sleep(LOOK_S)
        return dict(await self._admin.list_consumer_group_offsets(group))


async def may_join(place: Place, group: str, topics: Sequence[str]) -> None:
    """Return if we may read these as a member of the group; Faust would wait without a word.

    Raises KafkaUnreachable, NotLetIn.
    """
    try:
        async with Reader(place) as reader, Asker(place) as asker:
            await reader.may_read(*topics)
            await asker.judged(group, "")
    except (KafkaError, OSError) as problem:
        raise unreachable(place, problem) from None


async def quietly(ending: Any) -> None:
    """Wait for the end of something, a few seconds at most, whatever comes of it."""
    with suppress(Exception):
        await asyncio.wait_for(ending, END_S)
