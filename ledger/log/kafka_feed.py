"""What the brokers tell a client: verdicts on its runs, and every order.

What a newcomer would get wrong
    Two connections: an order never waits behind verdicts. Of the verdicts only those partitions
    are read in which a followed run lives, and of them only the records with such a key are
    decoded; who is passed over costs a comparison.
    A partition is read from where the judges last wrote down which generation is in force
    (`Heard`), so that what a judge says who was replaced counts for nobody. Verdicts count from
    where the partition ended when its first run came.
    aiokafka's positions are not trusted: each partition keeps its own, and what comes twice is
    skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ledger.log.kafka_asker import Asker, quietly
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place, group_of
from ledger.log.kafka_reader import OutOfRange
from ledger.log.kafka_start import start
from ledger.log.kafka_verdicts import ANNOUNCED, Heard, Published
from ledger.wire import UnreadableEvent

VERDICTS_WAIT_MS = 50
"""How long a broker holds a fetch that finds nothing: so long a new partition may have to wait."""
CONTROL_WAIT_MS = 500
TAKE_MS = 10_000
RECORDS_MAX = 2_000
AGAIN_S = 0.2
PAUSE_S = 0.005
"""How often a full hand is looked at."""

Hear = Callable[[int, bytes, bytes], object]
"""Called with the offset (of the event, or of the order), the key, the value."""


def _consumer(place: Place, wait_ms: int) -> Any:
    return AIOKafkaConsumer(
        **place.client(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=wait_ms,
    )


class _Part:
    """One verdict partition: where we are, from where on it counts for us, whose word counts."""

    __slots__ = ("hear_from", "next", "ready", "rule")

    def __init__(self) -> None:
        self.next = -1
        self.hear_from = -1
        self.rule = Published()
        self.ready = asyncio.Event()


class VerdictFeed:
    """Reads the verdict partitions of the runs in `keys`. Belongs to the loop.

    `hear` gets each verdict that counts, `pause` says whether too many wait to be taken.
    """

    def __init__(
        self, place: Place, partitions: int, keys: Collection[bytes], hear: Hear,
        pause: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._place, self._partitions, self._keys = place, partitions, keys
        self._topic, self._events = place.topic("verdicts"), place.topic("events")
        self._hear, self._pause = hear, pause
        self._parts: dict[int, _Part] = {}
        self._changed = asyncio.Event()
        self._begun = asyncio.Event()
        self._consumer: Any = None
        self.problem: BaseException | None = None

    def want(self, partition: int) -> None:
        """Read this partition too."""
        if partition not in self._parts:
            self._parts[partition] = _Part()
            self._changed.set()

    def tidy(self) -> None:
        """Stop reading partitions in which no followed run lives."""
        needed = {partition_of(key, self._partitions) for key in tuple(self._keys)}
        if gone := self._parts.keys() - needed:
            for partition in gone:
                self._parts.pop(partition).ready.set()  # Whoever waits for it looks again.
            self._changed.set()

    async def ready(self, partition: int) -> None:
        """Return once what is said in the partition from now on is heard, or it is not wanted."""
        while (part := self._parts.get(partition)) is not None and not part.ready.is_set():
            await part.ready.wait()

    def reading(self) -> list[int]:
        """The partitions that are read."""
        return sorted(number for number, part in self._parts.items() if part.ready.is_set())

    async def run(self) -> None:
        """Read until cancelled, whatever goes wrong."""
        while True:
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._arranging())
                    both.create_task(self._reading())
            except Exception as problem:
                self.problem = problem
            self._begun.clear()
            self._changed.set()
            await asyncio.sleep(AGAIN_S)

    # --- which partitions, from where ---

    async def _arranging(self) -> None:
        async with Asker(self._place) as asker:
            while True:
                await self._changed.wait()
                self._changed.clear()
                try:
                    new = [number for number, part in self._parts.items() if part.next < 0]
                    if new:
                        await self._locate(asker, new)
                    await self._assign()
                except (KafkaError, OSError, TimeoutError) as problem:
                    self.problem = problem
                    self._changed.set()
                    await asyncio.sleep(AGAIN_S)

    async def _locate(self, asker: Asker, new: list[int]) -> None:
        """Find out where to begin in these partitions."""
        ends = await asker.bounds(self._topic, new)
        heard = await asker.heard(group_of(self._place), self._events)
        for number in new:
            part = self._parts.get(number)
            if part is None:
                continue
            begin, end = ends[number]
            said = heard.get(number, Heard())
            if part.hear_from < 0:
                part.next = max(begin, min(said.pos, end))
                part.hear_from = end
                part.rule = Published(said.generation)
                continue
            # It was read before: on from there, or from where there is something again.
            part.next = max(begin, min(part.hear_from, end))
            if said.pos <= part.next:  # Else what announces it is still to be read.
                part.rule.announced(said.generation)

    async def _assign(self) -> None:
        if self._consumer is None:
            consumer = _consumer(self._place, VERDICTS_WAIT_MS)
            await start(consumer, self._place)
            self._consumer = consumer
        placed = {n: part for n, part in self._parts.items() if part.next >= 0}
        where = {n: TopicPartition(self._topic, n) for n in placed}
        # Nothing is awaited from here on, so that no record comes between.
        self._consumer.assign(list(where.values()))
        for number, part in placed.items():
            self._consumer.seek(where[number], part.next)
            part.ready.set()
        self._begun.set()

    # --- what they hold ---

    async def _reading(self) -> None:
        try:
            while True:
                await self._begun.wait()
                if self._pause():
                    await asyncio.sleep(PAUSE_S)
                else:
                    await self._read()
        finally:
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                await quietly(consumer.stop())

    async def _read(self) -> None:
        try:
            found = await self._consumer.getmany(timeout_ms=TAKE_MS, max_records=RECORDS_MAX)
        except OutOfRange as problem:
            for where in problem.args[0]:
                self._lost(where.partition)
        except (KafkaError, OSError) as problem:
            self.problem = problem
            await asyncio.sleep(AGAIN_S)
        else:
            for where, records in found.items():
                part = self._parts.get(where.partition)
                if part is not None:
                    self._take(part, records)

    def _lost(self, number: int) -> None:
        """Where we are there is nothing any more: begin where there is, and hear all of it that we
        did not."""
        part = self._parts.get(number)
        if part is not None:
            part.hear_from, part.next = max(part.hear_from, part.next), -1
            self._changed.set()

    def _take(self, part: _Part, records: list[Any]) -> None:
        keys = self._keys
        for record in records:
            if record.offset < part.next:
                continue
            part.next = record.offset + 1
            key = record.key
            if key == ANNOUNCED:
                with suppress(UnreadableEvent):
                    part.rule.take(key, record.value)
            elif key in keys and record.offset >= part.hear_from:
                self._say(part.rule, key, record.value or b"")

    def _say(self, rule: Published, key: bytes, value: bytes) -> None:
        try:
            verdict = rule.take(key, value)
        except UnreadableEvent:
            self._hear(-1, key, value)  # Whoever reads it says that this client is too old.
            return
        if verdict is not None:
            self._hear(verdict.offset, key, value)


class ControlFeed:
    """Reads the control topic from the offset `begin` on. Belongs to the loop."""

    def __init__(self, place: Place, begin: int, hear: Hear) -> None:
        self._place, self._hear = place, hear
        self._where = TopicPartition(place.topic("control"), 0)
        self.next = begin

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            consumer = _consumer(self._place, CONTROL_WAIT_MS)
            try:
                await start(consumer, self._place)
                consumer.assign([self._where])
                consumer.seek(self._where, self.next)
                while True:
                    await self._read(consumer)
            except Exception:  # Whatever it is: kills are heard here.
                await asyncio.sleep(AGAIN_S)
            finally:
                await quietly(consumer.stop())

    async def _read(self, consumer: Any) -> None:
        try:
            found = await consumer.getmany(timeout_ms=TAKE_MS)
        except OutOfRange:
            begin = (await consumer.beginning_offsets([self._where]))[self._where]
            self.next = begin
            consumer.seek(self._where, begin)
            return
        for records in found.values():
            for record in records:
                if record.offset >= self.next:
                    self.next = record.offset + 1
                    self._hear(record.offset, record.key or b"", record.value or b"")
