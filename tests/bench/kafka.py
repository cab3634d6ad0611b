"""What a judge on Kafka costs: events it judges in a second, and how long a verdict takes.

A real broker, started for it; one worker process with everything on. `judged_events_per_s` is
over a backlog, by the times that the broker stamped on the first and the last verdict.
`verdict_ms` is what a client sees, from sending a request to reading its verdict, while a fleet
writes `LOAD_PER_S` events. Broker, worker, fleet, client share this machine.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ledger.core import events as e
from ledger.core.shapes import Units
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_topics import apply
from ledger.log.kafka_verdicts import ANNOUNCED
from ledger.wire import encode
from tests.live.kafka.broker import running
from tests.live.kafka.chaos import Workers, url_of
from tests.live.kafka.traffic import Traffic
from tests.waiting import wait_for
from tests.wheel import ROOT

Figure = dict[str, Any]

PARTITIONS = 4
BACKLOG = int(os.environ.get("LEDGER_BENCH_BACKLOG", "400000"))
LOAD_PER_S = 10_000
PROBES = 400
PROBE_EVERY_S = 0.03


def figures() -> Iterator[Figure]:
    """Every figure of this module, each as soon as it is measured."""
    with running() as broker, tempfile.TemporaryDirectory() as folder:
        yield judged(broker.bootstrap, Path(folder))
        for load_per_s in (0, LOAD_PER_S):
            yield answered(broker.bootstrap, Path(folder), load_per_s)


def _log(bootstrap: str, name: str) -> Place:
    place = Place(bootstrap, f"{name}-{time.monotonic_ns()}", PARTITIONS, 1)
    asyncio.run(apply(place))
    return place


def judged(bootstrap: str, folder: Path) -> Figure:
    """One worker over a backlog."""
    place = _log(bootstrap, "bench")
    written = asyncio.run(_fill(place, BACKLOG))
    workers = Workers(place, folder)
    workers.start()
    try:
        wait_for(lambda: asyncio.run(_last_verdicts(place)) >= written, 300, poll_s=1.0)
        memory_mb = _resident_mb(workers.running[1].pid)
        cpu_s = _cpu_s(workers.running[1].pid)
        first_ms, last_ms, count = asyncio.run(_verdict_times(place))
        workers.stop(1)
    finally:
        workers.end()
    seconds = (last_ms - first_ms) / 1_000
    return {
        "figure": "judged_events_per_s", "value": round(written / seconds), "unit": "events/s",
        "events": written, "verdicts": count, "resident_mb": memory_mb,
        "cpu_us_per_event": round(1e6 * cpu_s / written, 1),
    }  # fmt: skip


def answered(bootstrap: str, folder: Path, load_per_s: int) -> Figure:
    """Requests and their verdicts as a client sees them."""
    place = _log(bootstrap, "answers")
    workers = Workers(place, folder)
    workers.start()
    load = None
    if load_per_s:
        seconds = PROBES * PROBE_EVERY_S + 12
        load = subprocess.Popen(
            [sys.executable, "-m", "tests.live.kafka.traffic", url_of(place), str(seconds),
             str(load_per_s), "1"], cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        took_ms = sorted(asyncio.run(_probe(place)))
    finally:
        workers.end()
        if load is not None:
            load.kill()
            load.wait()
    cuts = quantiles(took_ms, n=100)
    return {
        "figure": "verdict_ms", "value": round(cuts[98], 1), "unit": "ms",
        "p50": round(cuts[49], 1), "load_per_s": load_per_s, "requests": len(took_ms),
    }  # fmt: skip


async def _fill(place: Place, count: int) -> int:
    """Write a backlog, shared evenly by the partitions."""
    wrote = 0
    async with _producer(place) as producer:
        for partition in range(PARTITIONS):
            traffic, mine = Traffic(partition, PARTITIONS, 1), 0
            while mine < count // PARTITIONS:
                rows = traffic.batch(1_000)
                batch = producer.create_batch()
                for key, value in rows:
                    batch.append(timestamp=None, key=key, value=value)
                sent = await producer.send_batch(batch, place.topic("events"), partition=partition)
                traffic.wrote((await sent).offset)
                mine += len(rows)
            wrote += mine
    return wrote


async def _last_verdicts(place: Place) -> int:
    """How far the group's checkpoints go, over all partitions."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=place.bootstrap, group_id=f"{place.prefix}-judges"
    )
    await consumer.start()
    try:
        parts = [TopicPartition(place.topic("events"), p) for p in range(PARTITIONS)]
        return sum([await consumer.committed(part) or 0 for part in parts])
    finally:
        await consumer.stop()


async def _verdict_times(place: Place) -> tuple[int, int, int]:
    """When the first generation was announced and the last verdict written; how many verdicts."""
    times, count = [], 0
    async with Reader(place) as reader:
        for partition in range(PARTITIONS):
            topic = place.topic("verdicts")
            begin, end = await reader.bounds(topic, partition)
            async for records in reader.read(topic, partition, begin, end):
                times += [record.timestamp for record in records]
                count += sum(record.key != ANNOUNCED for record in records)
    return min(times), max(times), count


async def _probe(place: Place) -> list[float]:
    """Milliseconds from sending each request to reading its verdict."""
    run = next(
        name
        for name in (f"probe-{n}" for n in range(1_000))
        if partition_of(name.encode(), PARTITIONS) == 0
    )
    consumer = AIOKafkaConsumer(bootstrap_servers=place.bootstrap, fetch_max_wait_ms=100)
    await consumer.start()
    where = TopicPartition(place.topic("verdicts"), 0)
    consumer.assign([where])
    await consumer.seek_to_end(where)
    sent_s: dict[int, float] = {}
    took_ms: list[float] = []

    async def listen() -> None:
        async for record in consumer:
            if record.key == run.encode():
                offset = int(record.value.partition(b'"offset":')[2].partition(b",")[0])
                took_ms.append((time.perf_counter() - sent_s.pop(offset)) * 1_000)

    async with _producer(place) as producer:
        listening = asyncio.create_task(listen())
        await _say(producer, place, e.RunStarted(run=run, agent="lead", source="p", seq=1))
        for seq in range(2, PROBES + 2):
            began_s = time.perf_counter()
            wants = Units(tool_calls=1)
            asked = e.LeaseRequested(run=run, agent="lead", source="p", seq=seq, wants=wants)
            sent_s[await _say(producer, place, asked)] = began_s
            left_s = PROBE_EVERY_S - (time.perf_counter() - began_s)
            await asyncio.wait([listening], timeout=max(left_s, 0.0))
        await asyncio.wait([listening], timeout=5)
        listening.cancel()
    await consumer.stop()
    return took_ms[len(took_ms) // 4 :]  # The first wait for the worker to be up.


async def _say(producer: Any, place: Place, event: e.Event) -> int:
    sent = await producer.send_and_wait(
        place.topic("events"), encode(event), key=event.run.encode(), partition=0
    )
    return int(sent.offset)


@asynccontextmanager
async def _producer(place: Place) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(
        bootstrap_servers=place.bootstrap, acks="all", enable_idempotence=True, max_batch_size=10**6
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def _resident_mb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


def _cpu_s(pid: int) -> float:
    """Processor time of a process so far, its start included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
