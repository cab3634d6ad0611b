"""What tests of clients on Kafka share: a log with a judge, its users, what it holds."""

import asyncio
import contextlib
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ledger
from ledger.core import events as e
from ledger.core.events import Event
from ledger.core.verdicts import Verdict
from ledger.log.kafka import KafkaLog
from ledger.log.kafka_place import Place
from ledger.log.kafka_topics import apply
from ledger.wire import decode, decode_verdict
from tests.live.kafka.chaos import Workers, url_of

E = TypeVar("E", bound=Event)
PARTITIONS = 4
ALL = 10**9


def new_place(bootstrap: str, *, replication: int = 1) -> Place:
    """A log with four partitions and a name of its own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    place = Place(bootstrap, name, partitions=PARTITIONS, replication=replication)
    asyncio.run(apply(place))
    return place


@contextlib.contextmanager
def judging(place: Place, folder: Path) -> Iterator[str]:
    """The URL of the log at `place`, while a worker judges it."""
    workers = Workers(place, folder)
    workers.start()
    try:
        yield url_of(place)
    except BaseException:
        sys.stderr.write(workers.said())
        raise
    finally:
        workers.end()


@contextlib.contextmanager
def process(
    function: str, *words: str, who: ledger.Agent | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs `module.function` of ours, as `who` if given. Killed at the end."""
    module, _, name = function.rpartition(".")
    code = f"import sys; from {module} import {name} as f; f(*sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **({} if who is None else who.identity.to_env())},
        stdout=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        try:
            yield started
        finally:
            started.kill()


def line_of(started: Any) -> str:
    """The next line that the process prints."""
    return str(started.stdout.readline()).strip()


def heard(log: KafkaLog, run: str) -> list[Event]:
    """Every event of a run, as often as it is in the log."""
    return [decode(row.value) for row in log.read_run(run, ALL)]


def of_type(log: KafkaLog, run: str, cls: type[E]) -> list[E]:
    """The events of one class."""
    return [event for event in heard(log, run) if isinstance(event, cls)]


def told(log: KafkaLog, run: str) -> list[Verdict]:
    """Every verdict on a run that counts."""
    rows = log.part_of(run).verdicts(-1, ALL, run)
    return [replace(decode_verdict(row.value), generation=0) for row in rows]


def refusals(log: KafkaLog, run: str) -> list[str]:
    """Why events of the run were refused by the judge, and bytes by anybody."""
    mine = [row.reason for row in log.refused(0, ALL) if run.encode() in row.value]
    return [verdict.refusal for verdict in told(log, run) if verdict.refusal] + mine


def is_in_order(events: list[Event]) -> None:
    """Fails where the numbers of a source go back or leave one out; repetitions are silent."""
    last: Counter[tuple[str, str]] = Counter()
    for event in events:
        if event.seq:
            key = (event.source, event.run)
            assert event.seq <= last[key] + 1, event
            last[key] = max(last[key], event.seq)


def outputs(n: int, begin: int = 0) -> Callable[[ledger.Run], None]:
    """Says that a run made `n` outputs."""

    def say(run: ledger.Run) -> None:
        for number in range(begin, begin + n):
            run.output(output=f"o-{number}")

    return say


def names(events: list[Event]) -> list[str]:
    """The names of the outputs among these, in order."""
    return [event.output for event in events if isinstance(event, e.OutputProduced)]
