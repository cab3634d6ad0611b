"""What a client on Kafka costs an agent: recording, asking, being stopped; and what it passes on.

A real broker, a judge worker and the client share this machine. Times of single acts are of the
agent's thread. `kafka_client_events_per_s` is from the first event to the flush, of one process.
`kafka_kill...` is from before the order is given to the refusal in another process; its
interpreter idles but for its looks, or computes. With `_no_judge` nobody judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ledger
from ledger.core import events as e
from ledger.log.kafka_place import Place
from ledger.log.kafka_topics import apply
from tests.bench.client import BURST, KILLS, WIDE, Figure, _busy, _pause, _spread, _until_killed
from tests.live.kafka.broker import running
from tests.live.kafka.chaos import url_of
from tests.live.kafka.clients import judging, process

ACTS = 4_000
EVENTS = 200_000
SPAWNS = 300
IDLE, BUSY = f"{__name__}._idle", f"{_busy.__module__}.{_busy.__name__}"


def figures() -> Iterator[Figure]:
    """Every figure of the client on Kafka."""
    with running() as broker, tempfile.TemporaryDirectory() as folder:
        with _ledger(_log(broker.bootstrap, "quiet")) as led:
            yield from _records(led)
            yield _passed_on(led)
            yield from _kills(led, "_no_judge_idle", IDLE)
            yield from _kills(led, "_no_judge_busy", BUSY)
        place = _log(broker.bootstrap, "judged")
        with judging(place, Path(folder)), _ledger(place) as led:
            _warm(led)
            yield from _round_trips(led)
            yield from _kills(led, "_idle", IDLE)


def _log(bootstrap: str, name: str) -> Place:
    place = Place(bootstrap, f"{name}-{time.monotonic_ns()}", partitions=4, replication=1)
    asyncio.run(apply(place))
    return place


@contextlib.contextmanager
def _ledger(place: Place) -> Iterator[ledger.Ledger]:
    with ledger.connect(url_of(place), policy=WIDE) as led:
        yield led


def _warm(led: ledger.Ledger) -> None:
    """Until the worker has its partitions."""
    for _ in range(100):
        with contextlib.suppress(ledger.Denied), led.run("warm") as run, run.spawn("a"):
            return


def _records(led: ledger.Ledger) -> Iterator[Figure]:
    """In bursts with a pause between, as agents do; then back to back."""
    with led.run("r") as run:
        event = e.OutputProduced(run=run.id, agent="lead", output="o", result_fp=5)
        times, flood = [], []
        for _ in range(ACTS // BURST):
            for _ in range(BURST):
                began = time.perf_counter()
                led.record(event)
                times.append((time.perf_counter() - began) * 1e6)
            _pause(0.005)
        for _ in range(ACTS * 5):
            began = time.perf_counter()
            led.record(event)
            flood.append((time.perf_counter() - began) * 1e6)
        yield from _spread("kafka_record_us", times, "us")
        yield from _spread("kafka_record_flood_us", flood, "us")
        led.flush(60)
        waits = []
        for _ in range(200):
            led.record(event)
            began = time.perf_counter()
            led.flush(60)
            waits.append((time.perf_counter() - began) * 1e3)
        yield from _spread("kafka_flush_ms", waits, "ms")


def _passed_on(led: ledger.Ledger) -> Figure:
    """As fast as one process can, the queue's bound holding the agent back."""
    with led.run("r") as run:
        event = e.OutputProduced(run=run.id, agent="lead", output="o", result_fp=5)
        led.flush(60)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for _ in range(EVENTS):
            led.record(event)
        led.flush(120)
        took_s = time.perf_counter() - began_s
        cpu_us = (time.process_time() - began_cpu_s) / EVENTS * 1e6
    return {
        "figure": "kafka_client_events_per_s", "value": round(EVENTS / took_s), "unit": "events/s",
        "cpu_us_per_event": round(cpu_us, 1),
    }  # fmt: skip


def _round_trips(led: ledger.Ledger) -> Iterator[Figure]:
    """A spawn: asked of the judge in another process, through the broker and back."""
    times = []
    with led.run("r") as run:
        for number in range(SPAWNS):
            child = run.spawn("a", agent=f"a{number}", task="look it up")
            began = time.perf_counter()
            child.__enter__()
            times.append((time.perf_counter() - began) * 1e3)
            child.__exit__(None, None, None)
            _pause(0.005)
    yield from _spread("kafka_admit_round_trip_ms", times, "ms")


def _kills(led: ledger.Ledger, name: str, function: str) -> Iterator[Figure]:
    times = []
    with led.run("r") as run, process(function, led.path, who=run) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        for number in range(KILLS):
            _pause(0.1)
            given_ns = time.time_ns()
            led.kill(run.id, f"a{number}")
            stopped_ns = int(busy.stdout.readline())
            times.append((stopped_ns - given_ns) / 1e6)
    yield from _spread(f"kafka_kill{name}_ms", times, "ms")


def _idle(path: str) -> None:
    """Look at the ledger every millisecond or so, and do nothing else."""

    def work(agent: ledger.Agent) -> None:
        while True:
            _pause(0.001)
            agent.check()

    _until_killed(path, work)
