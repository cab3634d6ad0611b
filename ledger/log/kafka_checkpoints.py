"""Checkpoints of one partition on Kafka: written in transactions, by one owner at a time.

What a newcomer would get wrong
    Opening fences: whoever had these checkpoints open before can commit nothing any more, and
    learns it with its next commit. A commit that works is the proof of still being the owner.
    What was written is there from the commit on, all of it or nothing. Reading ends where the
    last transaction ended, because opening ended the one that a dead owner left open.
    The group's offset moves in the same transaction. It is for people who watch the lag: judging
    goes on from the marker in the checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from ledger.log.kafka_outbox import BATCH_BYTES, heard, stop
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_start import start
from ledger.log.kafka_verdicts import Heard

TRANSACTION_MS = 30_000
"""A transaction open longer is given up by the broker, and its owner fenced."""
PATIENCE_S = 20.0
RECORD_BYTES_MAX = 32 * 2**20


class NotOwner(Exception):
    """A commit did not work: somebody else owns the partition, or the brokers cannot be reached.

    Either way nothing more may be said in its name; start over from what was committed.
    """


class Checkpoints:
    """The checkpoints of one partition, owned by members of `group`, the judges' consumer group.

    `open` first, `close` at the end.
    """

    def __init__(self, place: Place, group: str, partition: int) -> None:
        self._place, self._group, self._partition = place, group, partition
        self._topic = place.topic("checkpoints")
        self._events = TopicPartition(place.topic("events"), partition)
        self._producer: Any = None
        self._open = False
        self._sent: list[asyncio.Future[Any]] = []

    async def open(self) -> None:
        """Become the owner: every owner before is fenced. Raises NotOwner."""
        self._producer = AIOKafkaProducer(
            **self._place.client(),
            transactional_id=f"{self._group}-{self._partition}",
            transaction_timeout_ms=TRANSACTION_MS,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=RECORD_BYTES_MAX,
        )
        await self._patiently(start(self._producer, self._place))

    async def load(self) -> dict[str, bytes]:
        """The newest row of every key that has one."""
        rows: dict[str, bytes] = {}
        async with Reader(self._place, committed=True) as reader:
            begin, end = await reader.bounds(self._topic, self._partition)
            async for records in reader.read(self._topic, self._partition, begin, end):
                for record in records:
                    if record.value is None:
                        rows.pop(record.key.decode(), None)
                    else:
                        rows[record.key.decode()] = record.value
        return rows

    async def write(self, rows: Mapping[str, bytes | None]) -> None:
        """Write rows (None: to be removed) into the open transaction, or a new one. NotOwner."""
        if not self._open:
            await self._patiently(self._ours().begin_transaction())
            self._open = True
        batch = self._ours().create_batch()
        for key, value in rows.items():
            name = key.encode()
            if batch.append(timestamp=None, key=name, value=value) is None:
                await self._send(batch)
                batch = self._ours().create_batch()
                batch.append(timestamp=None, key=name, value=value)
        if batch.record_count():
            await self._send(batch)

    async def commit(self, next_offset: int, heard: Heard | None = None) -> None:
        """End the transaction: what was written counts, the group's offset is this. NotOwner.

        `heard` stands beside the offset, for clients (`kafka_verdicts.Heard`).
        """
        note = "" if heard is None else heard.note()
        offsets = {self._events: OffsetAndMetadata(next_offset, note)}
        for sent in self._sent:
            await self._patiently(asyncio.shield(sent))
        self._sent.clear()
        await self._patiently(self._ours().send_offsets_to_transaction(offsets, self._group))
        await self._patiently(self._ours().commit_transaction())
        self._open = False

    async def close(self) -> None:
        """Let go; an open transaction is given up."""
        producer, self._producer = self._producer, None
        self._sent.clear()  # They are heard; cancelled, they would not be.
        if producer is None:
            return
        with suppress(Exception):  # As it is let go, whatever was wrong with it.
            if self._open:  # Otherwise the broker gives it up by itself, later.
                await asyncio.wait_for(producer.abort_transaction(), 1.0)
        await stop(producer)

    def _ours(self) -> Any:
        """The producer. Raises NotOwner where it was let go of, in the middle of whatever."""
        if self._producer is None:
            raise NotOwner("it was let go of")
        return self._producer

    async def _send(self, batch: Any) -> None:
        batch.close()
        sending = self._ours().send_batch(batch, self._topic, partition=self._partition)
        sent = await self._patiently(sending)
        sent.add_done_callback(heard)
        self._sent.append(sent)

    async def _patiently(self, doing: Any) -> Any:
        try:
            return await asyncio.wait_for(doing, PATIENCE_S)
        except TimeoutError as problem:
            raise NotOwner(f"no answer within {PATIENCE_S:g} s") from problem
        except (KafkaError, AssertionError) as problem:
            raise NotOwner(str(problem) or type(problem).__name__) from problem
