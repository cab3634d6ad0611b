"""Sends records to one partition in order, at once, and says when they are acknowledged.

What a newcomer would get wrong
    One batch is on its way at a time. An idle partition sends a record the moment it is put;
    a busy one sends in the next batch all that was put meanwhile. So there is no lingering,
    and batches grow with the load by themselves.
    What failed once cannot go on: a later record would be there without the earlier one. The
    box stays failed, and whoever holds it starts over from what the log has.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from ledger.log.kafka_place import Place
from ledger.log.kafka_start import start

BATCH_BYTES = 900_000
RECORD_BYTES_MAX = 4 * 2**20
STOP_S = 2.0
BACKLOG_MAX = 50_000
"""Records that wait, past which `room` waits for some to be acknowledged."""


class Letter(NamedTuple):
    """One record to be sent."""

    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class OutboxFailed(Exception):
    """A record could not be written; nothing after it was. `problem` is why."""

    def __init__(self, problem: BaseException) -> None:
        super().__init__(problem)
        self.__cause__ = self.problem = problem


def producer(place: Place) -> Any:
    """A producer for outboxes: acknowledged by all in-sync replicas, each record once.

    It can be shared by any number of boxes, and is started and stopped by its owner.
    One request takes what all of them have to send to a broker.
    """
    return AIOKafkaProducer(
        **place.client(),
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        max_request_size=RECORD_BYTES_MAX,
    )


def hear(producer: Any) -> None:
    """Hear why batches failed that nobody waits for any more; before a producer is let go.

    aiokafka keeps a future a batch for whoever sends the next, and one a transaction. Unheard,
    they complain when they are collected: at any time, in the middle of anything.
    """
    accumulator = producer._message_accumulator
    futures = [producer._txn_manager._transaction_waiter]
    for batch in (*accumulator._pending_batches, *chain(*accumulator._batches.values())):
        futures += batch.future, batch._drain_waiter
    for future in futures:
        if future is not None and future.done() and not future.cancelled():
            future.exception()


async def stop(producer: Any) -> None:
    """Stop a producer within about twice STOP_S, whatever it has to send. Raises nothing.

    By itself it waits until all is sent; cancelled, it goes on sending, and nobody can stop it.
    """
    with suppress(Exception):
        try:
            await asyncio.wait_for(producer.stop(), STOP_S)
        except TimeoutError:
            async with asyncio.timeout(STOP_S):
                await _end(producer)
    hear(producer)


async def _end(producer: Any) -> None:
    await producer.client.close()
    sending = producer._sender.sender_task
    while sending is not None and not sending.done():
        sending.cancel()  # Once to end it, once more for each request that does not.
        await asyncio.wait([sending], timeout=STOP_S / 10)
    queue = producer._message_accumulator
    queue._pending_batches.update(chain(*queue._batches.values()))  # Whence they expect to leave.
    queue.fail_all(ProducerClosed())


class Producers:
    """One producer for all that a judge's partitions write, and another where that one failed.

    `take` and `give_back` belong together. Who took one before it failed may keep it.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._current: Any = None
        self._users: dict[Any, int] = {}
        self._starting = asyncio.Lock()

    async def take(self) -> Any:
        """A started producer. Raises OutboxFailed where no broker answers."""
        async with self._starting:
            if self._current is None:
                made = producer(self._place)
                try:
                    await start(made, self._place)
                except KafkaError as problem:
                    raise OutboxFailed(problem) from problem
                self._current, self._users[made] = made, 0
            self._users[self._current] += 1
            return self._current

    async def give_back(self, used: Any, *, failed: bool) -> None:
        """Stop it where nobody else uses it; `failed`: whoever comes next gets another."""
        self._users[used] -= 1
        unused = not self._users[used]
        if used is self._current and (failed or unused):
            self._current = None
        if unused:
            del self._users[used]
            await stop(used)


def heard(sent: asyncio.Future[Any]) -> None:
    """Nobody may be left to hear that it failed; as a callback this hears it."""
    if not sent.cancelled():
        sent.exception()


class Outbox:
    """What is to be written to one partition. Belongs to one event loop; `close` ends it."""

    def __init__(self, producer: Any, topic: str, partition: int) -> None:
        self._producer, self._topic, self._partition = producer, topic, partition
        self._letters: deque[Letter] = deque()
        self._marks: deque[tuple[int, asyncio.Future[int]]] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._put = self._acknowledged = 0
        self._position = 0
        self._sending_s = 0.0
        self.failure: BaseException | None = None
        self._task = asyncio.create_task(self._pump(), name=f"outbox {topic} {partition}")

    def put(self, letter: Letter) -> None:
        """Send the letter after all that were put before. Does not wait.

        Where the box has failed it is lost, as what was not acknowledged may be.
        """
        if self.failure is not None:
            return
        self._letters.append(letter)
        self._put += 1
        self._wake.set()
        if self._put - self._acknowledged > BACKLOG_MAX:
            self._room.clear()

    @property
    def waiting_s(self) -> float:
        """For how long the oldest letter waits to be acknowledged; 0 where none does.

        Brokers that lack in-sync replicas are asked again for as long as that lasts.
        """
        return time.monotonic() - self._sending_s if self._sending_s else 0.0

    async def room(self) -> None:
        """Wait while too much is on its way. Raises OutboxFailed."""
        await self._room.wait()
        if self.failure is not None:
            raise OutboxFailed(self.failure)

    def mark(self) -> asyncio.Future[int]:
        """Resolved once all that was put so far is acknowledged: the offset after the last of it.

        0 when nothing was ever put. Fails with OutboxFailed.
        """
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.failure is not None:
            found.set_exception(OutboxFailed(self.failure))
            found.exception()  # Whoever asked may have gone.
        elif self._put == self._acknowledged:
            found.set_result(self._position)
        else:
            self._marks.append((self._put, found))
        return found

    def close(self) -> None:
        """Send nothing more; what was not acknowledged may or may not have been written."""
        self._task.cancel()
        self._fail(asyncio.CancelledError())

    async def _pump(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._letters:
                    await self._send()
        except Exception as problem:
            self._fail(problem)

    async def _send(self) -> None:
        """Send one batch and wait for it."""
        batch = self._producer.create_batch()
        count = 0
        while self._letters:
            key, value, headers = self._letters[0]
            if batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                break
            self._letters.popleft()
            count += 1
        batch.close()
        self._sending_s = time.monotonic()
        sent = await self._producer.send_batch(batch, self._topic, partition=self._partition)
        sent.add_done_callback(heard)
        base = (await asyncio.shield(sent)).offset  # Cancelled, it would not be heard of again.
        self._sending_s, before = 0.0, self._acknowledged
        self._acknowledged += count
        self._position = base + count
        while self._marks and self._marks[0][0] <= self._acknowledged:
            upto, found = self._marks.popleft()
            if not found.done():
                found.set_result(base + upto - before)
        if self._put - self._acknowledged <= BACKLOG_MAX // 2:
            self._room.set()

    def _fail(self, problem: BaseException) -> None:
        self.failure = self.failure or problem
        self._letters.clear()
        self._room.set()
        while self._marks:
            _, found = self._marks.popleft()
            if not found.done():
                found.set_exception(OutboxFailed(problem))
                found.exception()
