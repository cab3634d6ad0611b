"""What one process of a log on Kafka runs on its loop: sender, feeds, reader of the past.

What a newcomer would get wrong
    Everything here runs on the loop's thread (`kafka_loop`); `ledger.log.kafka` is what other
    threads see. A forked child has a session of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ledger.log.kafka_asker import Asker, quietly
from ledger.log.kafka_feed import ControlFeed, Hear, VerdictFeed
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_outbox import Letter
from ledger.log.kafka_past import Past
from ledger.log.kafka_place import Place, group_of
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_sender import VALUE_BYTES_MAX, Sender
from ledger.log.kafka_topics import check
from ledger.log.kafka_verdicts import Heard

if TYPE_CHECKING:
    from ledger.core.state import Run

REFUSED_BYTES_MAX = 65_536
"""Of bytes that are no event so much is kept."""


class Session:
    """Connections of this process to the log at `place`. Made on the loop; `close` ends it."""

    def __init__(
        self, place: Place, partitions: int, keys: Collection[bytes], hear: Hear,
        pause: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._place, self.partitions = place, partitions
        self.sender = Sender(place)
        self.asker = Asker(place)
        self.past = Past(place, self.asker)
        self.verdicts = VerdictFeed(place, partitions, keys, hear, pause)
        self._tasks = [self._start(self.verdicts.run())]

    def hear_orders(self, begin: int, hear: Hear) -> None:
        """Read the control topic from this offset on."""
        self._tasks.append(self._start(ControlFeed(self._place, begin, hear).run()))

    async def append(
        self, rows: Sequence[tuple[str, bytes]], after: Future[list[int]] | None
    ) -> list[int]:
        """Write events, each run's in order, once `after` is done; their offsets."""
        if after is not None:
            await asyncio.wrap_future(after)
        parts: dict[int, tuple[list[Letter], list[int]]] = {}
        for place, (run, value) in enumerate(rows):
            key = run.encode()
            if len(value) > VALUE_BYTES_MAX:
                reason = f"{len(value)} bytes are too many for an event"
                await self.refuse(run, reason, value, patient=True)
                continue
            letters, places = parts.setdefault(partition_of(key, self.partitions), ([], []))
            letters.append(Letter(key, value))
            places.append(place)
        offsets = [-1] * len(rows)

        async def send(partition: int, letters: list[Letter], places: list[int]) -> None:
            await self.verdicts.ready(partition)
            topic = self._place.topic("events")
            sent = await self.sender.send(topic, partition, letters, patient=True)
            for place, offset in zip(places, sent, strict=True):
                offsets[place] = offset

        await asyncio.gather(*(send(partition, *part) for partition, part in parts.items()))
        return offsets

    async def order(self, run: str, value: bytes) -> int:
        """Write an order to its run's partition and to control; its offset in the first."""
        letter = Letter(run.encode(), value)
        partition = partition_of(run.encode(), self.partitions)
        (offset,), _ = await asyncio.gather(
            self.sender.send(self._place.topic("events"), partition, [letter]),
            self.sender.send(self._place.topic("control"), 0, [letter]),
        )
        return offset

    async def record_policy(self, digest: str, text: str, key: str, value: bytes) -> None:
        """Write the event to every partition, then the text: who finds it knows that all have it.

        Two who do it at once write it twice, which judges hear once.
        """
        letters = [Letter(key.encode(), value)]
        events = self._place.topic("events")
        await asyncio.gather(
            *(self.sender.send(events, number, letters) for number in range(self.partitions))
        )
        kept = Letter(digest.encode(), text.encode())
        await self.sender.send(self._place.topic("policies"), 0, [kept])

    async def refuse(self, source: str, reason: str, value: bytes, *, patient: bool = False) -> int:
        """Write bytes that are no event to the refused topic; their offset there."""
        headers = (("reason", reason.encode()), ("source", source.encode()))
        letter = Letter(source.encode(), value[:REFUSED_BYTES_MAX], headers)
        topic = self._place.topic("refused")
        (offset,) = await self.sender.send(topic, 0, [letter], patient=patient)
        return offset

    async def heard(self, partition: int) -> Heard:
        """From where on of a verdict partition the judges say which generation is in force."""
        heard = await self.asker.heard(group_of(self._place), self._place.topic("events"))
        return heard.get(partition, Heard())

    async def run_as_judged(self, run: str) -> Run | None:
        """The run in the last checkpoint of its partition, all of which is read."""
        from ledger.judge.checkpoint import MARKER
        from ledger.judge.memory import Memory
        from ledger.judge.restore import load_notes, load_runs
        from ledger.log.kafka_checkpoints import Checkpoints

        partition = partition_of(run.encode(), self.partitions)
        rows = await Checkpoints(self._place, group_of(self._place), partition).load()
        memory = Memory()
        rows.pop(MARKER, None)
        load_notes(memory, rows)
        load_runs(memory, {key: row for key, row in rows.items() if key == run}, lambda: None)
        return memory.state.runs.get(run)

    async def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(
            *self._tasks, self.sender.close(), quietly(self.past.close()),
            quietly(self.asker.close()), return_exceptions=True,
        )  # fmt: skip

    def _start(self, work: Any) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)


async def look(place: Place) -> tuple[int, int]:
    """How many partitions the log has, and where its control topic ends. Raises TopicsWrong,
    KafkaUnreachable, KafkaError, also where we would never hear an order or a verdict."""
    topics = await check(place)
    async with Reader(place) as reader:
        await reader.may_read(topics["control"].name, topics["verdicts"].name)
        _, end = await reader.bounds(topics["control"].name, 0)
    return topics["events"].partitions, end
