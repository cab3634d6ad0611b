"""What a fleet of agents would publish: runs with leases, calls, spawns; some nonsense between.

A program too: `python -m tests.live.kafka.traffic URL SECONDS EVENTS_PER_S SEED` writes, with a
producer of its own a partition, and prints how many events it wrote. Leases are named by the
offsets that the broker gave their requests, so most acts are admitted.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaProducer

from ledger.core import events as e
from ledger.core import policy
from ledger.core.events import Event
from ledger.core.shapes import Units
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import place as place_of
from ledger.wire import encode

RUNS = 25
BATCH = 100
QUICK = policy.Policy(
    name="quick", lease=policy.Leases(ttl_ms=2_000), memory=policy.Memory(linger_ms=3_000)
)
"""Leases end and ended runs are forgotten while a test watches."""


class Traffic:
    """The runs of one partition. `batch` gives what to write next; `wrote` says where it went."""

    def __init__(self, partition: int, partitions: int, seed: int, name: str = "t") -> None:
        self.chance = random.Random(f"{seed} {partition} {name}")
        self.partition, self.partitions, self.name = partition, partitions, name
        self.source = f"host-{name}-{partition}"
        self.born = 0
        self.seqs: dict[str, int] = {}
        self.agents: dict[str, list[str]] = {}
        self.leases: dict[str, list[str]] = {}
        self.calls: dict[str, list[tuple[str, str]]] = {}
        self._asked: list[tuple[int, str]] = []
        self._written = 0

    def batch(self, count: int = BATCH) -> list[tuple[bytes, bytes]]:
        """About `count` records: (key, value)."""
        self._asked.clear()
        rows: list[tuple[bytes, bytes]] = []
        if not self._written:
            recorded = e.PolicyRecorded(run="policy", digest=QUICK.digest, text=QUICK.text)
            rows.append((b"policy", encode(recorded)))
        while len(rows) < count:
            for key, value in self._some():
                if value.startswith(b'{"type":"lease_requested"'):
                    self._asked.append((len(rows), key.decode()))
                rows.append((key, value))
        self._written += len(rows)
        return rows

    def wrote(self, base: int) -> None:
        """The batch is in the log, its first record at offset `base`."""
        for place, run in self._asked:
            if run in self.leases:
                self.leases[run] = [*self.leases[run][-6:], f"{self.partition}-{base + place}"]

    def _some(self) -> Iterator[tuple[bytes, bytes]]:
        if len(self.seqs) < RUNS:
            yield self._start()
            return
        dice = self.chance.random()
        if dice < 0.002:
            yield self._nonsense()
            return
        run = self.chance.choice(sorted(self.seqs))
        if dice < 0.005:
            yield self._row(run, e.RunEnded, agent="lead")
            for known in (self.seqs, self.agents, self.leases, self.calls):
                del known[run]
            return
        row = self._act(run)
        yield row
        if dice > 0.99:
            yield row  # Sent again.

    def _start(self) -> tuple[bytes, bytes]:
        while True:
            self.born += 1
            run = f"{self.name}-{self.partition}-{self.born}"
            if partition_of(run.encode(), self.partitions) == self.partition:
                break
        self.seqs[run], self.agents[run], self.leases[run], self.calls[run] = 0, ["lead"], [], []
        return self._row(run, e.RunStarted, agent="lead", policy=QUICK.digest)

    def _act(self, run: str) -> tuple[bytes, bytes]:
        agent = self.chance.choice(self.agents[run])
        name = f"{run}-{self.seqs[run]}"
        lease = self.chance.choice([*self.leases[run], ""])
        kind = self.chance.randrange(20)
        if kind < 2:
            wants = Units(tool_calls=8, model_calls=8, tokens=9_000)
            return self._row(run, e.LeaseRequested, agent=agent, wants=wants)
        if kind == 2:
            return self._row(run, e.SpawnRequested, agent=agent, child=name)
        if kind == 3 and len(self.agents[run]) < 10:
            self.agents[run].append(name)
            return self._row(run, e.AgentStarted, agent=name, parent=agent, lease=lease)
        if kind == 4:
            return self._row(run, e.LeaseReturned, agent=agent, lease=lease or "none")
        if kind < 12 or not self.calls[run]:
            self.calls[run] = [*self.calls[run][-8:], (agent, name)]
            fp = self.chance.randrange(1, 50)
            return self._row(
                run, e.ToolCallStarted, agent=agent, call=name, tool="search", lease=lease,
                args_fp=fp,
            )  # fmt: skip
        caller, call = self.calls[run].pop()
        return self._row(run, e.ToolCallEnded, agent=caller, call=call)

    def _nonsense(self) -> tuple[bytes, bytes]:
        run = f"{self.name}-x-{self.chance.randrange(10**9)}"
        started = encode(e.RunStarted(run=run, agent="lead"))
        return self.chance.choice(
            [
                # A source of its own each time: too many in a row would mute it.
                (b"somebody " + run.encode(), b"\xff\xfe no json"),
                (b"another " + run.encode(), started),  # Its key is not its run.
                (run.encode(), started),  # Its partition, as a rule, is another.
                (run.encode(), b'{"type":"from_the_future","run":"%s"}' % run.encode()),
            ]
        )

    def _row(self, run: str, cls: type[Event], **fields: Any) -> tuple[bytes, bytes]:
        self.seqs[run] += 1
        event = cls(run=run, source=self.source, seq=self.seqs[run], **fields)
        return run.encode(), encode(event)


async def write(url: str, seconds: float, events_per_s: float, seed: int, name: str = "t") -> int:
    """Write for a while; how many records."""
    place = place_of(url)
    partitions = place.partitions or 4
    producer = AIOKafkaProducer(
        bootstrap_servers=place.bootstrap, acks="all", enable_idempotence=True, max_batch_size=10**6
    )
    await producer.start()
    wrote = 0

    async def one(partition: int) -> None:
        nonlocal wrote
        traffic = Traffic(partition, partitions, seed, name)
        began_s, mine = time.monotonic(), 0
        while time.monotonic() - began_s < seconds:
            batch = producer.create_batch()
            rows = traffic.batch()
            for key, value in rows:
                batch.append(timestamp=None, key=key, value=value)
            batch.close()
            sent = await producer.send_batch(batch, place.topic("events"), partition=partition)
            traffic.wrote((await sent).offset)
            mine += len(rows)
            wrote += len(rows)
            ahead_s = mine * partitions / events_per_s - (time.monotonic() - began_s)
            if ahead_s > 0:
                await asyncio.wait([asyncio.create_task(_until(ahead_s))])

    await asyncio.gather(*(one(partition) for partition in range(partitions)))
    await producer.stop()
    return wrote


async def _until(seconds: float) -> None:
    """Keep the rate: what a schedule waits for is not a condition of another process."""
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, done.set_result, None)
    await done


def main() -> None:
    url, seconds, rate, seed = sys.argv[1:5]
    print(asyncio.run(write(url, float(seconds), float(rate), int(seed))), flush=True)


if __name__ == "__main__":
    main()
