"""Brokers die while a fleet is judged: what was acknowledged is there, and judged once."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

import ledger
from ledger.core import events as e
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place, group_of
from tests.clients import limits
from tests.live.kafka.broker import Broker, running
from tests.live.kafka.chaos import compare, ends_of, judged
from tests.live.kafka.clients import (
    PARTITIONS,
    heard,
    is_in_order,
    judging,
    names,
    new_place,
    of_type,
    refusals,
)
from tests.waiting import wait_for

PATIENT_S = 300
"""A broker is back within seconds; on a busy machine within a minute or two."""
FLUSH_EVERY = 20
PAUSE_S = 0.02
"""Between what an agent does, so that it leaves something of the machine to the others."""
MANY = 10**6
MORE = 3
"""So many flushes of every agent say that all goes on."""


@pytest.fixture(scope="module")
def three() -> Iterator[Broker]:
    """Three brokers: each topic on all of them, two must have what is acknowledged."""
    with running(3) as broker:
        if not broker.nodes:
            pytest.skip("the brokers that LEDGER_KAFKA names are not ours to kill")
        yield broker


class Agents:
    """One run in each partition, whose agents record, call tools and flush, until they `stop`."""

    def __init__(self, led: ledger.Ledger, runs: list[ledger.Run]) -> None:
        self._led, self.runs = led, runs
        self.outputs = [0 for _ in runs]
        self.calls = [0 for _ in runs]
        self.flushed = [0 for _ in runs]
        self._stop = threading.Event()
        work = ledger.propagate(self._work)
        self._threads = [threading.Thread(target=work, args=(n,)) for n in range(len(runs))]
        for thread in self._threads:
            thread.start()

    def more(self) -> None:
        """Return when every one of them has flushed a few more times."""
        wanted = [flushed + MORE for flushed in self.flushed]
        wait_for(partial(self._reached, wanted), PATIENT_S, what="agents to go on", poll_s=0.05)

    def stop(self) -> None:
        """No more; all that they said is flushed."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENT_S)
        self._led.flush(PATIENT_S)

    def _reached(self, wanted: list[int]) -> bool:
        assert all(thread.is_alive() for thread in self._threads), "an agent ended"
        return all(has >= want for has, want in zip(self.flushed, wanted, strict=True))

    def _work(self, number: int) -> None:
        run = self.runs[number]
        while not self._stop.is_set():
            with run.tool_call("t", self.calls[number]):
                self.calls[number] += 1
            for _ in range(FLUSH_EVERY):
                run.output(output=f"o-{self.outputs[number]}")
                self.outputs[number] += 1
            self._led.flush(PATIENT_S)
            self.flushed[number] += 1
            self._stop.wait(PAUSE_S)


def a_run_of_each() -> list[str]:
    """An id for each partition."""
    found: dict[int, str] = {}
    for number in range(1_000):
        found.setdefault(partition_of(b"run-%d" % number, PARTITIONS), f"run-{number}")
    return [found[number] for number in range(PARTITIONS)]


@contextmanager
def at_work(place: Place, folder: Path) -> Iterator[tuple[ledger.Ledger, Agents]]:
    """Agents at work, judged by one worker."""
    with judging(place, folder) as url, agents_at(url) as found:
        yield found


@contextmanager
def agents_at(url: str) -> Iterator[tuple[ledger.Ledger, Agents]]:
    """Agents at work, whoever judges them."""
    pinned = limits(
        unreachable_wait_ms=PATIENT_S * 1_000, run_tool_calls_max=MANY, agent_tool_calls_max=MANY
    )
    with ExitStack() as stack:
        led = stack.enter_context(ledger.connect(url, policy=pinned))
        runs = [stack.enter_context(led.run("r", run=name)) for name in a_run_of_each()]
        agents = Agents(led, runs)
        try:
            yield led, agents
        finally:
            agents.stop()


def nothing_is_lost(place: Place, led: ledger.Ledger, agents: Agents) -> None:
    """All that was said is in the log in order, nothing was refused, and each partition's verdicts
    and runs are what a plain fold of it gives, each event's verdict there once."""
    for number, run in enumerate(agents.runs):
        events = heard(led.log, run.id)
        once = list(dict.fromkeys(names(events)))

        is_in_order(events)
        assert once == [f"o-{one}" for one in range(agents.outputs[number])]
        began = {event.call for event in of_type(led.log, run.id, e.ToolCallStarted)}
        assert len(began) == agents.calls[number]
        assert refusals(led.log, run.id) == []
    ends = asyncio.run(ends_of(place))
    wait_for(lambda: judged(place, ends), PATIENT_S, what="all to be judged", poll_s=0.5)
    asyncio.run(compare(place, ends))


async def _asked(place: Place, ask: Any) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    try:
        await admin.start()
        return await ask(admin)
    except KafkaError:
        return None  # It asked one that is not up yet.
    finally:
        await admin.close()


def leader_of(place: Place, short: str, partition: int) -> int:
    """The node that leads a partition."""

    async def ask(admin: Any) -> int | None:
        (topic,) = await admin.describe_topics([place.topic(short)])
        leaders = {part["partition"]: part["leader"] for part in topic["partitions"]}
        return leaders[partition] if leaders[partition] > 0 else None

    return int(wait_for(lambda: asyncio.run(_asked(place, ask)), what="a leader", poll_s=0.1))


def coordinator_of(place: Place) -> int:
    """The node that coordinates the group of judges."""

    async def ask(admin: Any) -> int:
        return int(await admin.find_coordinator(group_of(place)))

    return int(wait_for(lambda: asyncio.run(_asked(place, ask)), what="one", poll_s=0.1))


def whole(place: Place) -> bool:
    """Whether every broker has all again that it must have."""

    async def ask(admin: Any) -> bool:
        found = await admin.describe_topics(
            [place.topic("events"), place.topic("verdicts"), place.topic("checkpoints")]
        )
        parts = [part for topic in found for part in topic["partitions"]]
        return all(len(part["isr"]) == len(part["replicas"]) == 3 for part in parts)

    return bool(asyncio.run(_asked(place, ask)))


def test_leaders_and_coordinators_may_die(three: Broker, tmp_path: Path) -> None:
    """Two of three have what is acknowledged; one of them goes on, and judging with it."""
    place = new_place(three.bootstrap, replication=3)
    with at_work(place, tmp_path) as (led, agents):
        agents.more()
        for which in (
            partial(leader_of, place, "events", 0),
            partial(coordinator_of, place),
        ):
            node = which()
            three.say(f"kill {node}")
            agents.more()
            three.say(f"start {node}")
            wait_for(lambda: whole(place), PATIENT_S, what="all replicas", poll_s=0.2)
        agents.more()
        agents.stop()

        nothing_is_lost(place, led, agents)


def test_the_only_broker_may_die(tmp_path: Path) -> None:
    """All stands still until it is back, and then goes on."""
    with running() as broker:
        if not broker.nodes:
            pytest.skip("the broker that LEDGER_KAFKA names is not ours to kill")
        place = new_place(broker.bootstrap)
        with at_work(place, tmp_path) as (led, agents):
            for _ in range(2):
                agents.more()
                broker.say("kill 1")
                broker.say("start 1")
            agents.more()
            agents.stop()

            nothing_is_lost(place, led, agents)
