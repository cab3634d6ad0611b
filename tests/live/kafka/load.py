"""The traffic of a fleet, made beforehand, so that writing it takes little of the machine.

A program: `python -m tests.live.kafka.load URL SECONDS EVENTS_PER_S` makes it, prints
`ready`, writes it once it reads a line, and prints how many events it wrote.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice

from aiokafka import AIOKafkaProducer

from ledger.log.kafka_place import Place
from ledger.log.kafka_place import place as place_of
from tests.fleet import partition_rows
from tests.live.kafka.traffic import Traffic

Rows = Iterator[tuple[bytes, bytes]]

AGENTS = 10
RUNS = 50
"""Live at once in a partition."""
EVERY_S = 0.02
"""A partition gets a batch this often."""
LEASE = b'"lease":"'


class Share:
    """The events of one partition, in batches of `count`. Leases are named as they are written."""

    def __init__(self, rows: Rows, partition: int, *, count: int, batches: int) -> None:
        self._prefix = b"%d-" % partition
        self._offsets: list[int] = []
        self._batches = [list(islice(rows, count)) for _ in range(batches)]
        self._batches.reverse()

    def __bool__(self) -> bool:
        return bool(self._batches)

    def next(self) -> list[tuple[bytes, bytes]]:
        """The next batch: (key, value)."""
        return [
            (key, self._named(value) if LEASE in value else value)
            for key, value in self._batches.pop()
        ]

    def wrote(self, base: int, count: int) -> None:
        """The batch is in the log, its first record at offset `base`."""
        self._offsets.extend(range(base, base + count))

    def _named(self, value: bytes) -> bytes:
        """The event with the lease's place in the making made one in the log."""
        head, mark, rest = value.partition(LEASE)
        name, quote, tail = rest.partition(b'"')
        if not name.startswith(self._prefix):
            return value
        place = int(name[len(self._prefix) :])
        if place < len(self._offsets):
            place = self._offsets[place]
        return head + mark + self._prefix + b"%d" % place + quote + tail


def fleet(partition: int, partitions: int) -> Rows:
    """Runs that work as their policy wants it: one event in ten is answered."""
    return partition_rows(partition, partitions, agents=AGENTS, runs=RUNS)


def rough(partition: int, partitions: int) -> Rows:
    """Runs of which a third is denied or refused, and nonsense between."""
    traffic, made = Traffic(partition, partitions, partition), 0
    while True:
        rows = traffic.batch(1)
        traffic.wrote(made)
        made += len(rows)
        yield from rows


def shares(
    place: Place, *, events: int, count: int, rows: Callable[[int, int], Rows] = fleet
) -> list[Share]:
    """So many events in all, evenly for all partitions, in batches of `count`."""
    partitions = place.partitions or 4
    batches = max(1, events // partitions // count)
    return [Share(rows(p, partitions), p, count=count, batches=batches) for p in range(partitions)]


async def write(place: Place, made: list[Share], *, every_s: float) -> int:
    """Write a batch a partition every so often (0: at once); how many events."""
    producer = AIOKafkaProducer(
        **place.client(), acks="all", enable_idempotence=True, max_batch_size=10**6
    )
    await producer.start()
    topic, wrote = place.topic("events"), 0

    async def one(partition: int, share: Share) -> None:
        nonlocal wrote
        loop = asyncio.get_running_loop()
        turn_s = loop.time() + every_s * partition / len(made)
        while share:
            rows, batch = share.next(), producer.create_batch()
            for key, value in rows:
                batch.append(timestamp=None, key=key, value=value)
            batch.close()
            sent = await producer.send_batch(batch, topic, partition=partition)
            share.wrote((await sent).offset, len(rows))
            wrote += len(rows)
            turn_s += every_s
            await turn(turn_s)

    await asyncio.gather(*(one(partition, share) for partition, share in enumerate(made)))
    await producer.stop()
    return wrote


async def turn(at_s: float) -> None:
    """Return at this time of the loop: what keeps a rate waits for no other condition."""
    loop = asyncio.get_running_loop()
    if at_s > loop.time():
        its = loop.create_future()
        loop.call_at(at_s, its.set_result, None)
        await its


def main() -> None:
    url, seconds, rate = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    place = place_of(url)
    partitions = place.partitions or 4
    count = max(1, round(rate * EVERY_S / partitions))
    made = shares(place, events=round(rate * seconds), count=count)
    print("ready", flush=True)
    sys.stdin.readline()
    began_s = time.monotonic()
    wrote = asyncio.run(write(place, made, every_s=EVERY_S))
    print(wrote, round(wrote / (time.monotonic() - began_s)), flush=True)


if __name__ == "__main__":
    main()
