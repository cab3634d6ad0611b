"""A client on Kafka: what it records is there, what it may do is decided, an order stops it."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ledger
from ledger.core import events as e
from ledger.core.policy import Policy
from ledger.log import LogClosed, LogError
from ledger.log.kafka import KafkaLog
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place
from ledger.log.kafka_sender import VALUE_BYTES_MAX
from tests.clients import limits
from tests.live.kafka.broker import Broker
from tests.live.kafka.chaos import url_of
from tests.live.kafka.clients import (
    ALL,
    PARTITIONS,
    heard,
    is_in_order,
    judging,
    line_of,
    names,
    new_place,
    of_type,
    outputs,
    process,
    refusals,
    told,
)
from tests.waiting import wait_for

PATIENT = 120_000
"""Milliseconds: a worker takes seconds to start, on a busy machine many."""
HERE = "tests.live.kafka.test_client"


def patient(**fields: Any) -> Policy:
    """A policy with these limits that waits for its judge."""
    return limits(unreachable_wait_ms=PATIENT, **fields)


@pytest.fixture(scope="module")
def judged(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A log that a worker judges, for all tests of this file."""
    with judging(new_place(broker.bootstrap), tmp_path_factory.mktemp("judge")) as url:
        yield url


# --- recording ---


def test_what_was_flushed_is_in_the_topic_once_in_order(place: Place) -> None:
    """Invariant 1, without any judge: read back with a client of its own."""
    with ledger.connect(url_of(place)) as led, led.run("r") as run:
        outputs(3_000)(run)
        led.flush(60)
        with KafkaLog(url_of(place)) as other:
            found = heard(other, run.id)

        assert names(found) == [f"o-{number}" for number in range(3_000)]
        assert [event.seq for event in found] == list(range(1, len(found) + 1))
        assert {event.grade for event in found} == {"enforced"}


def test_a_policy_is_in_every_partition_before_its_first_run(place: Place) -> None:
    """A judge knows one partition only. Whoever comes later adds nothing."""
    for _ in range(2):
        with ledger.connect(url_of(place), policy=Policy(name="mine")) as led, led.run("r"):
            pass
    with KafkaLog(url_of(place)) as log:
        parts = [part.read(-1, ALL) for part in log.parts()]
        digest = Policy(name="mine").digest

        assert [[row.run for row in rows].count("policy") for rows in parts] == [1] * PARTITIONS
        assert all(rows[0].run == "policy" for rows in parts)
        assert log.policy(digest) is not None
        assert log.policy("none") is None


def test_only_partitions_of_its_runs_are_read(place: Place, monkeypatch: Any) -> None:
    """A client of a large fleet would otherwise read what all others are told."""
    with KafkaLog(url_of(place)) as log:
        runs = {partition_of(run.encode(), PARTITIONS): run for run in map(str, range(100))}
        for number in (1, 3):
            log.follow(runs[number])
        feed = log._running().verdicts
        wait_for(lambda: feed.reading() == [1, 3], 60, what="the partitions to be read")
        monkeypatch.setattr("ledger.log.kafka.KEEP_S", -1.0)
        log.still_follow([])

        wait_for(lambda: feed.reading() == [], 60, what="the partitions to be left")
        log.follow(runs[2])
        wait_for(lambda: feed.reading() == [2], 60, what="a partition to be read")


def test_what_no_broker_takes_is_refused_and_holds_up_nothing(place: Place) -> None:
    """One huge event must not stand in the way of all that come after it."""
    with KafkaLog(url_of(place)) as log:
        huge = b'{"run":"r"%s}' % (b" " * VALUE_BYTES_MAX)

        assert log.append([("r", b"1"), ("r", huge), ("r", b"2")]) == [0, -1, 1]
        (row,) = log.refused(0, ALL)
        assert (row.source, row.pos) == ("r", 1)
        assert "too many" in row.reason


def test_a_closed_log_says_so(place: Place) -> None:
    log = KafkaLog(url_of(place))
    log.close()
    log.close()

    with pytest.raises(LogClosed):
        log.append([("r", b"1")])


def test_topics_that_are_missing_are_named_with_the_remedy(broker: Broker) -> None:
    with pytest.raises(LogError, match=r"nothing-events is missing.*`ledger topics apply`"):
        ledger.connect(f"kafka://{broker.bootstrap}/nothing")


# --- asking ---


def test_acts_live_on_a_lease(judged: str) -> None:
    """Twenty calls, a few requests; each names the lease that its judge gave."""
    with ledger.connect(judged, policy=patient()) as led, led.run("r") as run:
        for number in range(20):
            with run.tool_call("t", number) as call:
                call.result("fine")
        led.flush(60)
        asked = of_type(led.log, run.id, e.LeaseRequested)
        began = of_type(led.log, run.id, e.ToolCallStarted)
        given = {v.lease.lease for v in told(led.log, run.id) if v.lease is not None}
        part = partition_of(run.id.encode(), PARTITIONS)

        assert len(began) == 20
        assert 0 < len(asked) < 10
        assert {event.lease for event in began} <= given
        assert all(lease.startswith(f"{part}-") for lease in given)
        assert refusals(led.log, run.id) == []


def test_a_spawn_past_the_limit_is_denied(judged: str) -> None:
    pinned = patient(agent_open_children_max=2)
    with ledger.connect(judged, policy=pinned) as led, led.run("r") as run:
        with run.spawn("a"), run.spawn("b"), pytest.raises(ledger.Denied) as denied:
            run.spawn("c").__enter__()
        with run.spawn("d"):
            pass

        assert denied.value.decision.limit == "agent.open_children_max"


def test_the_low_level_admits_too(judged: str) -> None:
    """Adapters say in events what they want."""
    with ledger.connect(judged, policy=patient()) as led:
        led.record(e.RunStarted(run="low-1", agent="lead", policy=led.policy.digest))
        asked = e.SpawnRequested(run="low-1", agent="lead", child="c")

        assert not led.admit(asked).denied


def test_processes_that_race_stay_within_the_limit(judged: str, tmp_path: Path) -> None:
    """Invariant 5: whoever asks, in whatever process, it is one budget."""
    pinned = patient(run_tool_calls_max=90, agent_tool_calls_max=90)
    with (
        ledger.connect(judged, policy=pinned) as led,
        led.run("r") as run,
        contextlib.ExitStack() as started,
    ):
        outs = [tmp_path / f"out{number}" for number in range(3)]
        racers = [
            started.enter_context(
                process("tests.live.test_client.spend", judged, str(out), who=run)
            )
            for out in outs
        ]
        for racer in racers:
            assert line_of(racer) == "ready"
        for racer in racers:
            racer.wait(120)
        led.flush(60)
        done = sum(out.stat().st_size for out in outs)
        began = of_type(led.log, run.id, e.ToolCallStarted)

        assert 0 < len(began) == done <= 90
        is_in_order(heard(led.log, run.id))
        assert refusals(led.log, run.id) == []


def test_a_batch_that_is_sent_again_is_judged_once(judged: str) -> None:
    """Where an acknowledgement was lost, the same events stand in the log twice."""
    with ledger.connect(judged, policy=patient()) as led, led.run("r") as run:
        with run.tool_call("t"):
            pass
        led.flush(60)
        rows = [(row.run, row.value) for row in led.log.read_run(run.id, ALL)]
        before = told(led.log, run.id)
        led.log.append(rows)
        with run.spawn("a"):  # Judged behind them.
            pass
        led.flush(60)
        said = told(led.log, run.id)

        assert said[: len(before)] == before
        assert [verdict.about for verdict in said[len(before) :]] == ["spawn_requested"]


# --- orders ---


def test_a_kill_stops_a_process_that_computes(judged: str) -> None:
    """Its interpreter is busy and it waits for nothing; it answers with a receipt."""
    with (
        ledger.connect(judged, policy=patient()) as led,
        led.run("r") as run,
        run.spawn("a", agent="a") as agent,
        process("tests.live.test_client.spin", judged, who=agent) as busy,
    ):
        assert line_of(busy) == "ready"
        receipt = led.kill(run.id, "a", reason="enough", wait_s=60)
        _, who = line_of(busy).split()
        assert busy.wait(60) == 0

        assert who == "a"
        assert receipt.quiet
        assert len(of_type(led.log, run.id, e.OrderReceipted)) == 2, "one of each process"
        with pytest.raises(ledger.Killed):
            agent.check()


def test_a_kill_needs_no_judge(place: Place) -> None:
    """It comes through the control topic; who may still act is said."""
    with (
        ledger.connect(url_of(place)) as led,
        led.run("r") as run,
        process("tests.live.test_client.spin", url_of(place), who=run) as busy,
    ):
        assert line_of(busy) == "ready"
        receipt = led.kill(run.id, reason="enough", wait_s=0.0)
        assert line_of(busy).split()[1] == "lead"
        assert busy.wait(60) == 0

        assert not receipt.quiet
        assert receipt.offset > 0
        with pytest.raises(ledger.Killed):
            run.check()


def test_who_joins_late_is_killed_all_the_same(place: Place) -> None:
    """The order was given before this process took part in the run."""
    with ledger.connect(url_of(place)) as led, led.run("r") as run:
        with contextlib.suppress(ledger.Killed):
            led.kill(run.id, reason="enough")
        with process("tests.live.test_client.spin", url_of(place), who=run) as late:
            assert "lead" in (line_of(late) + line_of(late))
            assert late.wait(60) == 0


def test_orders_that_were_let_go_are_read_again(place: Place, monkeypatch: Any) -> None:
    """Memory is bounded; what an older position asks for comes from the topic."""
    monkeypatch.setattr("ledger.log.kafka.ORDERS_KEPT", 3)
    with KafkaLog(url_of(place)) as log:
        for number in range(8):
            log.append_order("r", b"%d" % number)
        wait_for(lambda: log.control_hint() == 8, 60, what="the orders")

        assert [row.value for row in log.control(0, ALL)] == [b"%d" % n for n in range(8)]
        assert [row.value for row in log.control(1, 2)] == [b"1", b"2"]
        assert [row.pos for row in log.control(6, ALL)] == [7, 8]
        assert log.control(8, ALL) == []


# --- processes ---


def test_a_fork_begins_anew_and_both_go_on(judged: str) -> None:
    """Not one connection is shared: a child that wrote on its parent's would break both."""
    with ledger.connect(judged, policy=patient()) as led, led.run("r") as run:
        with run.tool_call("before"):
            pass
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                run.output()
                led.flush(60)

        thread = threading.Thread(target=ledger.propagate(work))
        thread.start()
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=_in_child, args=(run,)) for _ in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join(120)
        stop.set()
        thread.join(60)
        with run.tool_call("after"):
            pass
        led.flush(60)
        tools = [event.tool for event in of_type(led.log, run.id, e.ToolCallStarted)]

        assert [child.exitcode for child in children] == [0, 0]
        assert sorted(tools) == ["after", "before", "in the child", "in the child"]
        is_in_order(heard(led.log, run.id))
        assert refusals(led.log, run.id) == []


def _in_child(run: ledger.Run) -> None:
    with run.tool_call("in the child"):
        pass


def test_an_order_reaches_a_forked_child_that_only_looks(place: Place) -> None:
    """It says nothing, so nothing started its connections but the look itself."""
    with ledger.connect(url_of(place)) as led, led.run("r") as run:
        led.flush(60)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os._exit(_until_killed(run, write))
        assert os.read(read, 1) == b"."
        led.kill(run.id, reason="enough")
        _, status = os.waitpid(pid, 0)

        assert os.waitstatus_to_exitcode(status) == 7


def _checked(run: ledger.Run) -> bool:
    run.check()
    return False


def _until_killed(run: ledger.Run, ready: int) -> int:
    try:
        run.check()
        os.write(ready, b".")
        wait_for(partial(_checked, run), 120, what="the kill")
    except ledger.Killed:
        return 7
    return 1


def test_the_state_of_a_run_is_known_after_a_checkpoint(judged: str) -> None:
    """What `kill --wait` names those by who may still act."""
    with ledger.connect(judged, policy=patient()) as led, led.run("r") as run:
        with run.tool_call("t"):
            pass
        led.flush(60)

        def state() -> Any:
            return led.log.run_as_judged(run.id)

        wait_for(lambda: state() is not None, 120, what="the checkpoint")
        assert "lead" in state().agents
        assert led.log.run_as_judged("no such run") is None
