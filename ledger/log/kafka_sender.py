"""Writes records to partitions in order, again and again until the in-sync replicas have them.

What a newcomer would get wrong
    aiokafka tries again by itself what it can, with sequence numbers, so that nothing is there
    twice. A batch that found no leader for long fails for good, and has used up its numbers: a
    new producer sends it again. Whether the old one wrote it, nobody knows; if it did, the event
    is there twice, and the fold hears it once (PROTOCOLS 8).
    The next batch of a partition leaves once the one before is acknowledged, by whichever
    producer. So order holds through any failure, and what waits is what the caller gave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError

from ledger.log.kafka_outbox import RECORD_BYTES_MAX, Letter, producer
from ledger.log.kafka_place import Place
from ledger.log.kafka_start import lacking, start

AGAIN_S = (0.05, 1.0)
STOP_S = 5.0
SLICE = 200
"""Records that are packed at a stretch, in half a millisecond."""
VALUE_BYTES_MAX = RECORD_BYTES_MAX - 65_536
"""A record that is larger no broker takes; the rest is for keys and headers."""


class Sender:
    """A producer, renewed when it fails. Belongs to the loop; `close` ends it.

    `problem` is what went wrong last, None once something was acknowledged.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._producer: Any = None
        self._starting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()
        self.problem: BaseException | None = None
        self.renewed = 0

    async def send(
        self, topic: str, partition: int, letters: Sequence[Letter], *, patient: bool = False
    ) -> list[int]:
        """Write the letters in order, however long that takes; their offsets.

        -1 where the broker no longer knows which offset it was. Raises NotLetIn where we lack a
        right, which who is `patient` waits for, too.
        """
        offsets: list[int] = []
        first_s, most_s = AGAIN_S
        nap_s = first_s
        while len(offsets) < len(letters):
            sender = None
            try:
                sender = await self._ready()
                batch, count = await _batch(sender, letters, len(offsets))
                sent = await sender.send_batch(batch, topic, partition=partition)
                base = (await sent).offset
            except (KafkaError, OSError, TimeoutError) as problem:
                self.problem = problem
                self._renew(sender)
                if not patient and (refusal := lacking(self._place, problem)):
                    raise refusal from None
                await asyncio.sleep(nap_s)
                nap_s = min(2 * nap_s, most_s)
                continue
            offsets += range(base, base + count) if base >= 0 else [-1] * count
            nap_s, self.problem = first_s, None
        return offsets

    async def close(self) -> None:
        """Stop; what is on its way gets a moment to arrive."""
        self._renew(self._producer)
        if self._ending:
            _, late = await asyncio.wait(self._ending, timeout=STOP_S)
            for task in late:
                task.cancel()

    async def _ready(self) -> Any:
        async with self._starting:
            if self._producer is None:
                new = producer(self._place)
                await start(new, self._place)
                self._producer = new
            return self._producer

    def _renew(self, failed: Any) -> None:
        """Never use this producer again; what others have given it may still arrive."""
        if failed is None or failed is not self._producer:
            return
        self._producer = None
        self.renewed += 1
        task = asyncio.get_running_loop().create_task(_stop(failed))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _batch(sender: Any, letters: Sequence[Letter], begin: int) -> tuple[Any, int]:
    """As many letters from `begin` on as one batch holds, at least one."""
    batch = sender.create_batch()
    count = 0
    for place in range(begin, len(letters)):
        key, value, headers = letters[place]
        if batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
            break
        count += 1
        if not count % SLICE:
            await asyncio.sleep(0)  # An order that comes in waits for a slice, not for all.
    assert count
    batch.close()
    return batch, count


async def _stop(old: Any) -> None:
    """Once what others gave it has arrived, however long that takes: cut short it would go on."""
    with suppress(KafkaError, OSError, TimeoutError):
        await old.stop()
