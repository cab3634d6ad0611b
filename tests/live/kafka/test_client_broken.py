"""A client on Kafka while brokers die, judges change, and somebody speaks who may not."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import TopicPartition

import ledger
from ledger.core import events as e
from ledger.core.events import Event
from ledger.core.verdicts import UNITS, Grant, Verdict
from ledger.log import LogUnreachable
from ledger.log.kafka import KafkaLog, _Segment
from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_loop import loop_thread
from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place, group_of
from ledger.log.kafka_verdicts import ANNOUNCED, Heard, announcement
from ledger.wire import decode, encode_verdict
from tests.clients import limits
from tests.live.kafka.archived import trim
from tests.live.kafka.broker import Broker, running
from tests.live.kafka.chaos import url_of
from tests.live.kafka.clients import (
    ALL,
    PARTITIONS,
    heard,
    is_in_order,
    names,
    new_place,
    of_type,
)
from tests.live.kafka.truth import folded
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def own_broker() -> Iterator[Broker]:
    """A broker that no other file uses."""
    with running() as broker:
        yield broker


@pytest.fixture
def mortal(own_broker: Broker) -> Iterator[Broker]:
    """A broker to be killed; it lives again at the end."""
    if not own_broker.nodes:
        pytest.skip("the broker that LEDGER_KAFKA names is not ours to kill")
    yield own_broker
    if not own_broker.nodes:
        own_broker.say("start 1")


def test_a_broker_that_dies_loses_nothing_that_was_flushed(mortal: Broker) -> None:
    """Two threads record through it; what comes twice is heard once."""
    place = new_place(mortal.bootstrap)
    with ledger.connect(url_of(place)) as led, led.run("r") as run:
        stop = threading.Event()
        said: list[int] = [0, 0]

        def record(which: int) -> None:
            while not stop.is_set():
                run.output(output=f"{which}-{said[which]}")
                said[which] += 1
                if said[which] % 200 == 0:
                    led.flush(120)

        threads = [
            threading.Thread(target=ledger.propagate(record), args=(which,)) for which in (0, 1)
        ]
        for thread in threads:
            thread.start()
        for _ in range(2):
            before = min(said)
            wait_for(partial(_past, said, before + 400), 120, what="events")
            mortal.say("kill 1")
            before = min(said)
            wait_for(lambda: led._engine.queue.problem is not None, 120, what="the problem")
            mortal.say("start 1")
        before = min(said)
        wait_for(partial(_past, said, before + 400), 120, what="events after it")
        stop.set()
        for thread in threads:
            thread.join(120)
        led.flush(120)
        events = heard(led.log, run.id)
        part = partition_of(run.id.encode(), PARTITIONS)
        truth = asyncio.run(folded(place, part, PARTITIONS, led.log.part(part).end()))
        once = list(dict.fromkeys(names(events)))

        is_in_order(events)
        for which in (0, 1):
            mine = [name for name in once if name.startswith(f"{which}-")]
            assert mine == [f"{which}-{number}" for number in range(said[which])]
        assert truth.refused == set()
        assert not [verdict for verdict in truth.verdicts.values() if verdict.refusal]


def _past(said: list[int], number: int) -> bool:
    return min(said) > number


def test_while_brokers_are_away_the_policy_decides(mortal: Broker) -> None:
    """PROTOCOLS 14: a spawn is denied, with the reason; recording goes on, and arrives later."""
    place = new_place(mortal.bootstrap)
    pinned = limits(unreachable_wait_ms=1_500)
    with ledger.connect(url_of(place), policy=pinned) as led, led.run("r") as run:
        led.flush(60)
        mortal.say("kill 1")
        with pytest.raises(ledger.Denied, match="brokers do not answer") as denied:
            run.spawn("a").__enter__()
        run.output(output="meanwhile")
        with pytest.raises(ledger.NotDurable, match="brokers do not answer"):
            led.flush(1.5)
        mortal.say("start 1")
        led.flush(120)

        assert denied.value.decision.limit == "unreachable.spawn"
        assert names(heard(led.log, run.id)) == ["meanwhile"]


def test_an_order_that_finds_no_broker_says_so(mortal: Broker, monkeypatch: Any) -> None:
    place = new_place(mortal.bootstrap)
    monkeypatch.setattr("ledger.log.kafka.ASK_S", 1.0)
    with ledger.connect(url_of(place)) as led, led.run("r") as run:
        led.flush(60)
        mortal.say("kill 1")
        with pytest.raises(LogUnreachable, match="brokers do not answer"):
            led.kill(run.id)
        mortal.say("start 1")
        monkeypatch.undo()
        led.flush(120)


def test_a_new_producer_goes_on_where_the_old_one_failed(place: Place) -> None:
    """A batch that expired has used up its sequence numbers; order and completeness hold."""
    with KafkaLog(url_of(place)) as log:
        sender = log._running().sender
        loop = loop_thread().loop
        rows = [("r", b"%d" % number) for number in range(2_000)]
        for begin in range(0, len(rows), 50):
            if begin % 200 == 0:  # While these are on their way.
                loop.call_soon_threadsafe(lambda: loop.call_later(0.002, _fail, sender))
            append(log, rows[begin : begin + 50])
        values = [int(row.value) for row in log.read_run("r", ALL)]

        assert sender.renewed > 1
        assert list(dict.fromkeys(values)) == list(range(2_000))
        assert all(after <= before + 1 for before, after in pairwise(values))


def _fail(sender: Any) -> None:
    sender._renew(sender._producer)


def append(log: KafkaLog, rows: list[tuple[str, bytes]]) -> list[int]:
    """As a client's queue does: the same again until it is there."""
    while True:
        try:
            return log.append(rows)
        except LogUnreachable:
            continue


def test_who_asks_again_waits_for_the_same_records(mortal: Broker) -> None:
    """Given again, and more behind it, after it took too long: nothing is sent twice."""
    place = new_place(mortal.bootstrap)
    with KafkaLog(url_of(place)) as log:
        rows = [("r", b"%d" % number) for number in range(30)]
        log.append(rows[:10])
        mortal.say("kill 1")
        for end in (20, 20, 30):
            with pytest.raises(LogUnreachable):
                log.append(rows[10:end])
        mortal.say("start 1")
        offsets = append(log, rows[10:])

        assert offsets == list(range(10, 30))
        assert [row.value for row in log.read_run("r", ALL)] == [value for _, value in rows]


def test_what_failed_is_sent_anew(place: Place) -> None:
    with KafkaLog(url_of(place)) as log:
        rows = [("r", b"0"), ("r", b"1")]
        failed: Future[list[int]] = Future()
        failed.set_exception(RuntimeError("a bug"))
        log._under_way = [_Segment(rows[:1], failed)]

        assert log.append(rows) == [0, 1]


def test_a_trim_in_the_middle_of_a_page_is_no_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archivist deletes what it has archived while somebody asks a question."""
    rows = [("r", b"%d" % number) for number in range(10)]
    part = partition_of(b"r", PARTITIONS)
    with KafkaLog(url_of(place)) as log:
        log.append(rows)
        asyncio.run(trim(place, "events", part, 6))
        past = log._running().past
        bounds, told = past.bounds, iter([(0, 10)])

        async def late(topic: str, partition: int) -> tuple[int, int]:
            return next(told, None) or await bounds(topic, partition)

        monkeypatch.setattr(past, "bounds", late)

        assert [row.offset for row in log.part(part).read(-1, ALL)] == [6, 7, 8, 9]


# --- whose word counts ---


async def say(place: Place, partition: int, rows: list[tuple[bytes, bytes]]) -> None:
    """Write into a verdict partition, as a judge would."""
    sender = producer(place)
    await sender.start()
    for key, value in rows:
        await sender.send_and_wait(place.topic("verdicts"), value, key=key, partition=partition)
    await sender.stop()


async def note(place: Place, partition: int, heard: Heard) -> None:
    """Say beside the offset of a checkpoint which generation is in force."""
    checkpoints = Checkpoints(place, group_of(place), partition)
    await checkpoints.open()
    await checkpoints.write({"x": b"{}"})
    await checkpoints.commit(0, heard)
    await checkpoints.close()


def grant(asked: Event, offset: int, lease: str, *, generation: int) -> bytes:
    """The verdict that grants a lease, which `asked` at `offset` asked for."""
    given = Grant(lease, "lead", asked.source, tuple(5 for _ in UNITS), 60_000)
    return encode_verdict(
        Verdict(
            offset=offset, run=asked.run, agent="lead", about=asked.type, source=asked.source,
            seq=asked.seq, lease=given, decision="allow", generation=generation,
        )
    )  # fmt: skip


@pytest.mark.parametrize("announced", ["before", "after"])
def test_a_judge_that_was_replaced_grants_nothing(place: Place, announced: str) -> None:
    """A zombie answers first, with a lease; the one in force answers second, with a smaller one.

    Its generation was announced before the client began to read, or while it did.
    """
    run_id = "r-1"
    part = partition_of(run_id.encode(), PARTITIONS)
    mark = (ANNOUNCED, announcement(7, version=1))
    if announced == "before":
        asyncio.run(say(place, part, [(ANNOUNCED, announcement(6, version=1)), mark]))
        asyncio.run(note(place, part, Heard(1, 6)))
    pinned = limits(unreachable_wait_ms=120_000)
    with ledger.connect(url_of(place), policy=pinned) as led, led.run("r", run=run_id) as run:
        called = threading.Thread(target=ledger.propagate(_call), args=(run,))
        called.start()
        wait_for(lambda: of_type(led.log, run_id, e.LeaseRequested), 60, what="the request")
        ((offset, asked),) = [
            (row.offset, decode(row.value))
            for row in led.log.read_run(run_id, ALL)
            if b'"lease_requested"' in row.value
        ]
        zombie = grant(asked, offset, "false", generation=6)
        true = grant(asked, offset, "true", generation=7)
        marks = [mark] if announced == "after" else []
        rows = [*marks, (run_id.encode(), zombie), (run_id.encode(), true)]
        asyncio.run(say(place, part, rows))
        called.join(60)
        led.flush(60)
        (began,) = of_type(led.log, run_id, e.ToolCallStarted)
        said = led.log.part(part).verdicts(-1, ALL)

        assert began.lease == "true"
        assert [row.value for row in said] == [true]


def test_who_finds_nothing_where_it_was_hears_what_it_missed(place: Place) -> None:
    """Its place in the verdicts is gone; what was said meanwhile is not."""
    part = partition_of(b"r", PARTITIONS)
    said = encode_verdict(Verdict(offset=1, run="r"))
    with KafkaLog(url_of(place)) as log:
        log.follow("r")
        feed = log._running().verdicts
        wait_for(lambda: feed.reading() == [part], 60, what="its partition to be read")
        where = TopicPartition(place.topic("verdicts"), part)
        loop_thread().loop.call_soon_threadsafe(lambda: feed._consumer.pause(where))
        asyncio.run(say(place, part, [(b"r", said)]))
        asyncio.run(note(place, part, Heard(1, 0)))
        loop_thread().loop.call_soon_threadsafe(lambda: feed._consumer.seek(where, 1_000))
        loop_thread().loop.call_soon_threadsafe(lambda: feed._consumer.resume(where))
        wait_for(lambda: log.verdicts(0, ALL), 60, what="the verdict")

        assert [row.value for row in log.verdicts(0, ALL)] == [said]


def _call(run: ledger.Run) -> None:
    with run.tool_call("t"):
        pass
