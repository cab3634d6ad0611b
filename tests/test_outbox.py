"""An outbox that ends or fails: nobody waits for it, and its producer goes on for the others."""

import asyncio
import gc
from typing import Any

import pytest

pytest.importorskip("aiokafka", reason="install coordination-ledger[kafka] for what runs on Kafka")

from aiokafka.errors import KafkaError, RequestTimedOutError
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.structs import TopicPartition

import ledger.log.kafka_outbox
from ledger.log.kafka_outbox import BATCH_BYTES, Letter, Outbox, OutboxFailed

WHERE = TopicPartition("verdicts", 0)
LETTER = Letter(b"run", b"said")


class Sending:
    """What boxes need of a producer: aiokafka's own queue, and a test in place of the brokers."""

    def __init__(self) -> None:
        self.queue = MessageAccumulator(None, BATCH_BYTES, 0, 40)
        self._put = asyncio.Event()

    def create_batch(self) -> Any:
        """An empty batch."""
        return self.queue.create_builder()

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """Queue a batch."""
        sent = await self.queue.add_batch(batch, TopicPartition(topic, partition), 40)
        self._put.set()
        return sent

    async def under_way(self) -> Any:
        """The next batch, taken from the queue as for a request."""
        await self._put.wait()
        return self.queue._pop_batch(WHERE)


async def ended(box: Outbox) -> None:
    """Return when the box sends nothing any more."""
    await asyncio.wait([box._task])


def test_a_box_that_closes_leaves_its_batch_to_the_producer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A request that fails is tried again: a batch that was taken out meanwhile would end the
    sender, and with it every box. One that fails for good complains to nobody."""

    async def story() -> None:
        sending = Sending()
        box = Outbox(sending, *WHERE)
        box.put(LETTER)
        batch = await sending.under_way()
        box.close()
        await ended(box)
        sending.queue.reenqueue(batch)
        again = sending.queue._pop_batch(WHERE)
        assert again is batch
        batch.failure(RequestTimedOutError())
        await asyncio.wait([batch.future])
        assert sending.queue._batches == {}

    asyncio.run(story())
    gc.collect()

    assert caplog.text == ""


def test_who_waits_for_room_hears_that_the_box_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is put into it meanwhile: nothing that is put there will ever make room."""
    monkeypatch.setattr(ledger.log.kafka_outbox, "BACKLOG_MAX", 1)

    async def story() -> None:
        sending = Sending()
        box = Outbox(sending, *WHERE)
        box.put(LETTER)
        batch = await sending.under_way()
        box.put(LETTER)
        waiting = asyncio.create_task(box.room())
        batch.failure(KafkaError("no"))
        await ended(box)
        for _ in range(9):
            box.put(LETTER)
        for room in (waiting, box.room()):
            with pytest.raises(OutboxFailed, match="no"):
                await room

    asyncio.run(story())
