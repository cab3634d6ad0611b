"""What a judge on Kafka costs: events it judges in a second, and how long a verdict takes.

A real broker, started for it; one worker process with everything on. `judged_events_per_s` is
over the backlog of a fleet that works as its policy wants it, by the times that the broker
stamped on the first and the last verdict; its baseline is a plain Faust agent that writes a table
row for each of the same events. `judged_rough_events_per_s` is the same for a fleet a third of
whose acts are denied or refused, with nonsense between.
`verdict_ms` is what a client sees, from sending a request to reading its verdict, while a fleet
writes `LOAD_PER_S` events, made beforehand; its baseline is the broker's share, from sending the
request to its acknowledgement, of which a verdict needs two. Broker, worker, fleet and client
share this machine.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import IO, Any, NamedTuple

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
from tests.live.kafka.load import Rows, fleet, rough, shares, write
from tests.waiting import wait_for
from tests.wheel import ROOT

Figure = dict[str, Any]

PARTITIONS = 4
BACKLOG = int(os.environ.get("LEDGER_BENCH_BACKLOG", "600000"))
LOAD_PER_S = 10_000
PROBES = 400
PROBE_EVERY_S = 0.03


def figures() -> Iterator[Figure]:
    """Every figure of this module, each as soon as it is measured."""
    with running() as broker, tempfile.TemporaryDirectory() as folder:
        yield judged(broker.bootstrap, Path(folder), "judged_events_per_s", fleet)
        yield judged(broker.bootstrap, Path(folder), "judged_rough_events_per_s", rough)
        for load_per_s in (0, LOAD_PER_S):
            yield answered(broker.bootstrap, Path(folder), load_per_s)


def log_of(bootstrap: str, name: str) -> Place:
    """A new log."""
    place = Place(bootstrap, f"{name}-{time.monotonic_ns()}", PARTITIONS, 1)
    asyncio.run(apply(place))
    return place


def fill(place: Place, events: int, rows: Callable[[int, int], Rows] = fleet) -> int:
    """Write a backlog, shared evenly by the partitions; how many events."""
    made = shares(place, events=events, count=1_000, rows=rows)
    return asyncio.run(write(place, made, every_s=0))


def judged(bootstrap: str, folder: Path, figure: str, rows: Callable[[int, int], Rows]) -> Figure:
    """One worker over a backlog of such rows."""
    place = log_of(bootstrap, "bench")
    written = fill(place, BACKLOG, rows)
    plain = _plain(place, written // 10)
    done = work_off(place, written, folder)
    rate = done.events_per_s
    return {
        "figure": figure, "value": rate, "unit": "events/s", "baseline": plain,
        "baseline_is": "plain Faust, a table write an event", "ratio": round(rate / plain, 1),
        "events": written, "verdicts": done.verdicts, "resident_mb": done.resident_mb,
        "cpu_us_per_event": round(1e6 * done.cpu_s / written, 1),
    }  # fmt: skip


class Done(NamedTuple):
    """A backlog was worked off."""

    events_per_s: int
    verdicts: int
    resident_mb: int
    cpu_s: float


def work_off(place: Place, written: int, folder: Path) -> Done:
    """One worker, over all that is in the log: `written` events."""
    workers = Workers(place, folder)
    workers.start()
    try:
        wait_for(lambda: asyncio.run(_last_verdicts(place)) >= written, 300, poll_s=1.0)
        pid = workers.running[1].pid
        memory_mb, cpu_s = _resident_mb(pid), _cpu_s(pid)
        first_ms, last_ms, count = asyncio.run(_verdict_times(place))
        workers.stop(1)
    finally:
        workers.end()
    return Done(round(written / (last_ms - first_ms) * 1_000), count, memory_mb, cpu_s)


def answered(bootstrap: str, folder: Path, load_per_s: int) -> Figure:
    """Requests and their verdicts as a client sees them."""
    place = log_of(bootstrap, "answers")
    seconds = PROBES * PROBE_EVERY_S + 6
    load = subprocess.Popen(
        [sys.executable, "-m", "tests.live.kafka.load", url_of(place), str(seconds),
         str(load_per_s)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert load.stdin is not None
    assert load.stdout is not None
    assert load.stdout.readline() == "ready\n"
    workers = Workers(place, folder)
    workers.start()
    try:
        took_ms, acknowledged_ms = asyncio.run(_probe(place, load.stdin))
    finally:
        workers.end()
        load.kill()
        load.communicate()
    p50, p99 = _p50_p99(took_ms)
    floor_p50, floor = _p50_p99(acknowledged_ms)
    return {
        "figure": "verdict_ms", "value": p99, "unit": "ms", "p50": p50, "baseline": floor,
        "baseline_p50": floor_p50, "baseline_is": "the request acknowledged",
        "ratio": round(p99 / floor, 1), "load_per_s": load_per_s, "requests": len(took_ms),
    }  # fmt: skip


def _p50_p99(took_ms: list[float]) -> tuple[float, float]:
    cuts = quantiles(took_ms, n=100)
    return round(cuts[49], 1), round(cuts[98], 1)


def _plain(place: Place, count: int) -> int:
    """Events a second that a plain Faust agent passes."""
    environment = {
        **os.environ, "LEDGER_KAFKA": url_of(place), "LEDGER_PLAIN_EVENTS": str(count),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "tests.live.kafka.plain", "worker", "-l", "error",
         "--without-web"],
        env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=300,
    )  # fmt: skip
    return int(done.stdout.split()[-1])


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


async def _probe(place: Place, load: IO[str]) -> tuple[list[float], list[float]]:
    """Milliseconds from sending each request to reading its verdict, and to its acknowledgement.

    The load begins with us.
    """
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
    heard_s: dict[int, float] = {}
    acknowledged_ms: list[float] = []
    heard = asyncio.Event()

    async def listen() -> None:
        async for record in consumer:
            if record.key == run.encode():
                offset = int(record.value.partition(b'"offset":')[2].partition(b",")[0])
                heard_s[offset] = time.perf_counter()
                heard.set()

    async def all_heard() -> None:
        async with asyncio.timeout(60):
            while not sent_s.keys() <= heard_s.keys():
                heard.clear()
                await heard.wait()

    async with _producer(place) as producer:
        listening = asyncio.create_task(listen())
        await _say(producer, place, e.RunStarted(run=run, agent="lead", source="p", seq=1))
        for seq in range(2, PROBES + 2):
            if seq == 2 + PROBES // 8:
                await all_heard()  # The worker is up.
                load.write("go\n")
                load.flush()
            began_s = time.perf_counter()
            wants = Units(tool_calls=1)
            asked = e.LeaseRequested(run=run, agent="lead", source="p", seq=seq, wants=wants)
            sent_s[await _say(producer, place, asked)] = began_s
            acknowledged_ms.append((time.perf_counter() - began_s) * 1_000)
            left_s = PROBE_EVERY_S - (time.perf_counter() - began_s)
            await asyncio.wait([listening], timeout=max(left_s, 0.0))
        await all_heard()
        listening.cancel()
    await consumer.stop()
    took_ms = [(heard_s[offset] - sent) * 1_000 for offset, sent in sent_s.items()]
    begin = len(took_ms) // 4  # The first wait for the worker, and for its load.
    return took_ms[begin:], acknowledged_ms[begin:]


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
