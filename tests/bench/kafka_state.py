"""What live runs cost a judge on Kafka: memory, checkpoints, and taking them over.

A real broker, started for it. `worker_mb` is one worker with `RUNS` live runs of 10 agents.
`take_over_s` is from `kill -9` of one of two workers that share these runs until requests in all
partitions are answered; the broker waits for the session of the dead one to end, so it is
measured with the default session and with the shortest that is sensible where brokers allow it.
`fold_again` is what a worker does whose log has no checkpoint: `EVENTS` events of few runs, a
third of them with a verdict, from the start of its process to its checkpoint of all;
`peak_mb` is the most memory that it had, `judging_peak_mb` what who judged them first had.
`checkpoint_ms` is for all partitions of one judge, `RUNS` small runs of which have changed, while
verdicts are asked for: the longest that one waited is `verdict_ms_max`, `idle_ms_max` without.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from ledger.core import events as e
from ledger.core.events import Event
from ledger.core.shapes import Units
from ledger.judge.checkpoint import MARKER
from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_topics import apply
from ledger.log.kafka_verdicts import ANNOUNCED
from ledger.processors.app import GROUP
from ledger.processors.base import SESSION_S
from ledger.processors.partition import Partition, Shared
from ledger.processors.takeover import take_over
from ledger.wire import decode_verdict, encode
from tests.fleet import WIDE, Fleet, recorded_policy, run_name
from tests.live.kafka.broker import running
from tests.live.kafka.chaos import Workers, ends_of, judged
from tests.live.kafka.load import turn
from tests.waiting import wait_for

Figure = dict[str, Any]
Row = tuple[bytes, bytes]

PARTITIONS = 4
RUNS = int(os.environ.get("LEDGER_BENCH_RUNS", "10000"))
EVENTS = int(os.environ.get("LEDGER_BENCH_EVENTS", "600000"))
AGENTS = 10
ACTS = 20
BATCH = 1_000
SHORT_SESSION_S = 1.5
ASK_EVERY_S = 0.005


def figures() -> Iterator[Figure]:
    """Every figure of this module, each as soon as it is measured."""
    with running() as broker:
        yield asyncio.run(_checkpointed(_log(broker.bootstrap, "checkpoints")))
        for session_s in (SESSION_S, SHORT_SESSION_S):
            with tempfile.TemporaryDirectory() as folder:
                yield from _lived(_log(broker.bootstrap, "lives"), Path(folder), session_s)
        with tempfile.TemporaryDirectory() as folder:
            yield _folded_again(_log(broker.bootstrap, "again"), Path(folder))


def _log(bootstrap: str, name: str) -> Place:
    place = Place(bootstrap, f"{name}-{time.monotonic_ns()}", PARTITIONS, 1)
    asyncio.run(apply(place))
    return place


# --- workers ---


def _lived(place: Place, folder: Path, session_s: float) -> Iterator[Figure]:
    """One worker restores nothing and judges all; a second shares; the first dies."""
    written = asyncio.run(_fill(place))
    ends = asyncio.run(ends_of(place))
    workers = Workers(place, folder, LEDGER_SESSION_S=str(session_s))
    workers.start()
    try:
        wait_for(lambda: judged(place, ends), 600, what="all to be judged", poll_s=1.0)
        if session_s == SESSION_S:
            held_mb = _resident_mb(workers.running[1].pid)
            yield {
                "figure": "worker_mb", "value": held_mb, "unit": "MB", "runs": RUNS,
                "agents": AGENTS, "events": written,
            }  # fmt: skip
        before = asyncio.run(_verdict_ends(place))
        workers.start()
        wait_for(
            lambda: asyncio.run(_announced(place, before)) >= PARTITIONS // 2,
            120, what="the partitions to be shared", poll_s=0.5,
        )  # fmt: skip
        asyncio.run(_all_answered(place))
        workers.kill(1)
        took_s = asyncio.run(_all_answered(place))
        yield {
            "figure": "take_over_s", "value": round(took_s, 1), "unit": "s", "runs": RUNS,
            "session_s": session_s,
        }  # fmt: skip
    finally:
        workers.end()


async def _fill(place: Place) -> int:
    """Write the beginnings of `RUNS` runs; how many events."""
    rows: list[list[Row]] = [[] for _ in range(PARTITIONS)]
    offsets, wrote = [0] * PARTITIONS, 0
    sender = producer(place)
    await sender.start()

    async def send(number: int) -> None:
        await _send(sender, place, number, rows[number])
        rows[number].clear()

    for number in range(PARTITIONS):
        rows[number].append((b"policy", encode(recorded_policy())))
        offsets[number] += 1
    for name in range(RUNS):
        run = run_name(name)
        number = partition_of(run.encode(), PARTITIONS)
        fleet = Fleet(AGENTS, name, run=run, partition=number)
        for _ in range(fleet.opening + ACTS):
            rows[number].append((run.encode(), fleet.at(offsets[number])))
            offsets[number] += 1
        if len(rows[number]) >= BATCH:
            await send(number)
    for number in range(PARTITIONS):
        await send(number)
        wrote += offsets[number]
    await sender.stop()
    return wrote


async def _verdict_ends(place: Place) -> list[int]:
    async with Reader(place) as reader:
        topic = place.topic("verdicts")
        return [(await reader.bounds(topic, number))[1] for number in range(PARTITIONS)]


async def _announced(place: Place, since: list[int]) -> int:
    """How many judges have announced themselves since then."""
    found = 0
    async with Reader(place) as reader:
        topic = place.topic("verdicts")
        for number, begin in enumerate(since):
            _, end = await reader.bounds(topic, number)
            async for records in reader.read(topic, number, begin, end):
                found += sum(record.key == ANNOUNCED for record in records)
    return found


async def _all_answered(place: Place) -> float:
    """Seconds from now until a request in every partition is answered."""
    began_s = time.monotonic()
    consumer = AIOKafkaConsumer(**place.client(), fetch_max_wait_ms=100)
    await consumer.start()
    parts = [TopicPartition(place.topic("verdicts"), number) for number in range(PARTITIONS)]
    consumer.assign(parts)
    await consumer.seek_to_end(*parts)
    for part in parts:
        await consumer.position(part)
    sender = producer(place)
    await sender.start()
    asked = {await _ask(sender, place, number) for number in range(PARTITIONS)}
    async for record in consumer:
        if record.key != ANNOUNCED:
            asked.discard((record.partition, decode_verdict(record.value).offset))
        if not asked:
            break
    took_s = time.monotonic() - began_s
    await sender.stop()
    await consumer.stop()
    return took_s


async def _ask(sender: Any, place: Place, number: int) -> tuple[int, int]:
    """Start a run in this partition, and ask for a lease; where the request is."""
    stamp = time.monotonic_ns()
    names = (f"probe-{stamp}-{n}" for n in range(10_000))
    run = next(name for name in names if partition_of(name.encode(), PARTITIONS) == number)
    started = e.RunStarted(run=run, agent="lead", source="p", seq=1)
    wants = Units(tool_calls=1)
    request = e.LeaseRequested(run=run, agent="lead", source="p", seq=2, wants=wants)
    sent: Any = None
    for event in (started, request):
        topic = place.topic("events")
        sent = await sender.send_and_wait(
            topic, encode(event), key=event.run.encode(), partition=number
        )
    return number, int(sent.offset)


def _resident_mb(pid: int, line: str = "VmRSS:") -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(line)[2].split()[0]) // 1024


def _processor_us(pid: int) -> int:
    """Microseconds of processor that a process has had."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) * 1_000_000 // os.sysconf("SC_CLK_TCK")


# --- without checkpoints ---


def _folded_again(place: Place, folder: Path) -> Figure:
    """One worker judges everything; the next finds verdicts and no marker."""
    written = asyncio.run(_fill_lasting(place))
    ends = asyncio.run(ends_of(place))
    workers = Workers(place, folder)
    peaks_mb = []
    try:
        for number in (1, 2):
            began_s = time.monotonic()
            workers.start()
            wait_for(lambda: judged(place, ends), 1_200, what="all to be judged", poll_s=0.2)
            took_s = time.monotonic() - began_s
            spent_us = _processor_us(workers.running[number].pid)
            peaks_mb.append(_resident_mb(workers.running[number].pid, "VmHWM:"))
            workers.stop(number)
            asyncio.run(_without_markers(place))
    finally:
        workers.end()
    return {
        "figure": "fold_again", "value": round(written / took_s), "unit": "events/s",
        "events": written, "verdicts": sum(asyncio.run(_verdict_ends(place))),
        "processor_us_an_event": round(spent_us / written, 1), "peak_mb": peaks_mb[1],
        "judging_peak_mb": peaks_mb[0],
    }  # fmt: skip


def _lasting(number: int) -> Iterator[Row]:
    """A hundred runs of partition `number`, which ask for a lease for each call, without end."""
    yield b"policy", encode(recorded_policy())
    names = map(run_name, count())
    mine = (run for run in names if partition_of(run.encode(), PARTITIONS) == number)
    runs = dict.fromkeys(islice(mine, 100), 1)
    for run in runs:
        yield _act(run, 1, e.RunStarted, policy=WIDE.digest)
    for offset in count(1 + len(runs), 3):
        run = min(runs, key=runs.__getitem__)
        seq = runs[run] = runs[run] + 3
        lease, call = f"{number}-{offset}", f"c{seq}"
        yield _act(run, seq - 2, e.LeaseRequested, wants=Units(tool_calls=1))
        yield _act(
            run, seq - 1, e.ToolCallStarted, call=call, tool="search", lease=lease, args_fp=offset
        )
        yield _act(run, seq, e.ToolCallEnded, call=call)


def _act(run: str, seq: int, cls: type[Event], **fields: Any) -> Row:
    return run.encode(), encode(cls(run=run, agent="lead", source="p", seq=seq, **fields))


async def _fill_lasting(place: Place) -> int:
    """Write such runs to every partition; how many events."""
    sender = producer(place)
    await sender.start()
    for number in range(PARTITIONS):
        rows = islice(_lasting(number), EVENTS // PARTITIONS)
        while some := list(islice(rows, BATCH)):
            await _send(sender, place, number, some)
    await sender.stop()
    return EVENTS // PARTITIONS * PARTITIONS


async def _send(sender: Any, place: Place, number: int, rows: list[Row]) -> None:
    batch = sender.create_batch()
    for key, value in rows:
        batch.append(timestamp=None, key=key, value=value)
    await (await sender.send_batch(batch, place.topic("events"), partition=number))


async def _without_markers(place: Place) -> None:
    """Take away what says how far the checkpoints go; for the group nothing is judged."""
    for number in range(PARTITIONS):
        checkpoints = Checkpoints(place, f"{place.prefix}-{GROUP}", number)
        await checkpoints.open()
        await checkpoints.write({MARKER: None})
        await checkpoints.commit(0)
        await checkpoints.close()


# --- checkpoints ---


class Made(NamedTuple):
    """A record as a feed would give it."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes
    topic: str
    partition: int
    timestamp_type: int = 1


class Feed:
    """Gives events to one partition, as if they were in its log."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self._seqs: dict[str, int] = {}

    def give(self, cls: type[Event], run: str, **fields: Any) -> None:
        """Fold one event of the run's first agent."""
        self._seqs[run] = seq = self._seqs.get(run, 0) + 1
        event = cls(run=run, agent="lead", source="p", seq=seq, **fields)
        at, now_ms = self.partition.memory.next_offset, time.time_ns() // 1_000_000
        self.partition.fold(
            [Made(at, now_ms, run.encode(), encode(event), "events", self.partition.number)]
        )

    async def asked(self, run: str) -> float:
        """Milliseconds from a request to its verdict's acknowledgement."""
        began_s = time.perf_counter()
        self.give(e.LeaseRequested, run, wants=Units(tool_calls=1))
        await self.partition.boxes.verdicts.mark()
        return (time.perf_counter() - began_s) * 1_000


async def _checkpointed(place: Place) -> Figure:
    """All partitions of one judge at once."""
    shared = Shared(place)
    feeds = [
        Feed(
            await take_over(
                place, "bench", number, partitions=PARTITIONS, failing={}, shared=shared
            )
        )
        for number in range(PARTITIONS)
    ]
    runs = [(f"run-{n}", partition_of(b"run-%d" % n, PARTITIONS)) for n in range(RUNS)]
    for run, number in runs:
        feeds[number].give(e.RunStarted, run)
        feeds[number].give(e.LeaseRequested, run, wants=Units(tool_calls=8))
    await asyncio.gather(*(feed.partition.checkpoint() for feed in feeds))
    for run, number in runs:
        feeds[number].give(e.ToolCallStarted, run, call="c", tool="search", args_fp=7)
    await asyncio.gather(*(feed.partition.settle() for feed in feeds))
    asked, number = runs[0]
    idle_ms = [await feeds[number].asked(asked) for _ in range(200)]
    began_s = time.monotonic()
    work = asyncio.gather(*(feed.partition.checkpoint() for feed in feeds))
    during_ms = []
    while not work.done():
        during_ms.append(await feeds[number].asked(asked))
        await turn(asyncio.get_running_loop().time() + ASK_EVERY_S)
    took_ms = (time.monotonic() - began_s) * 1_000
    await work
    await asyncio.gather(*(feed.partition.close() for feed in feeds))
    return {
        "figure": "checkpoint_ms", "value": round(took_ms), "unit": "ms", "changed_runs": RUNS,
        "verdicts": len(during_ms), "verdict_ms_max": round(max(during_ms), 1),
        "idle_ms_max": round(max(idle_ms), 1),
    }  # fmt: skip
