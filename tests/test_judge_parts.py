"""The parts of the judge: deadlines, batches, archiving, being started, being proved dead."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.core.events import Record, RunStarted
from ledger.judge import Judge, JudgeNotStarted, checkpoint, chores, deadlines, ensure, process
from ledger.judge.memory import Memory
from ledger.judge.process import gone, this_process
from ledger.judge.restore import marker_of
from ledger.judge.start import LOG_BYTES_MAX
from ledger.log.sqlite import SqliteLog
from tests.judging import Fleet, caught_up, crash, judge_all, log_at, memory_of, start
from tests.waiting import wait_for


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """An empty log."""
    with log_at(tmp_path) as log:
        yield log


def test_what_is_archived_and_checkpointed_is_trimmed(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log stays short, and never loses what the next judge still needs."""
    monkeypatch.setattr(chores, "TRIM_S", 0.01)

    def archive() -> None:
        log.set_meta("archived_offset", log.end())
        log.set_meta("archived_verdict_pos", log.verdicts_end() + 1)

    fleet = Fleet(log, "s", seed=6)
    fleet.begin()
    judge = Judge(log, trims=True)
    judging = threading.Thread(target=judge.run)
    judging.start()
    for _ in range(10):
        fleet.say(50)
        archive()
    end = log.end()
    wait_for(lambda: log.start() >= end - 1, what="the log to be trimmed")
    fleet.say(50)
    wait_for(lambda: caught_up(log), what="it to judge")
    judge.stop()
    judging.join()
    found = log.load_checkpoints()
    judge = Judge(log)
    judge_all(judge)

    assert len(found.states) == 4  # Three runs and the marker.
    assert memory_of(judge).state.runs.keys() == set(fleet.agents)
    judge.close()


def test_a_checkpoint_half_written_keeps_its_rows(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slices to come stand on older events; trimming by the newest slice would lose them."""
    monkeypatch.setattr(checkpoint, "SLICE_RUNS_MAX", 1)
    monkeypatch.setattr(chores, "TRIM_S", 0.01)
    fleet = Fleet(log, "s", seed=7, runs=5)
    fleet.begin()
    fleet.say(50)
    judge = Judge(log)
    judge_all(judge)
    judge.close()
    kept = marker_of(log).offset
    fleet.say(50)
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    judge = Judge(log)
    judge_all(judge)  # With the first slice of many.
    assert log.load_checkpoints().next_offset > kept
    for name in ("offset", "verdict_pos"):
        log.set_meta(f"archived_{name}", 10**9)
    trimming = chores.Trimming(log.path, judge._kept, print)
    wait_for(lambda: log.start() > 1, what="a trim")
    trimming.close()

    assert log.start() == kept
    crash(judge)
    judge = Judge(log)
    judge_all(judge)
    assert memory_of(judge).state.runs.keys() == set(fleet.agents)
    judge.close()


def test_large_events_come_in_small_batches(log: SqliteLog) -> None:
    """Some megabytes at a time, whatever somebody writes: memory has a bound."""
    start(log, "r", "s")
    for _ in range(4):
        log.append([("r", b"x" * 1_000_000)] * 50)
    judge = Judge(log)
    assert judge.elected()
    batches = [judge.step() for _ in range(30)]

    assert batches[0] == 64
    assert max(batches[1:]) <= 8
    judge.close()


def test_a_judge_that_cannot_be_started_is_said(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an embedded interpreter there is no Python to start; a person must hear what to do."""
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(JudgeNotStarted, match=r"does not know its own path; run `ledger up`"):
        ensure(log)


def test_what_judges_say_stays_small(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that nobody reads must not fill the disk."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    said = Path(f"{log.path}-judge.log")
    said.write_bytes(b"x" * (2 * LOG_BYTES_MAX))

    assert ensure(log)
    assert said.stat().st_size < 1_000
    assert not ensure(log)  # One was started a moment ago.


def test_the_end_of_a_process_can_be_proved() -> None:
    """Its number is used again by another; who has it now must not pass for the judge."""
    name = this_process()
    boot, space, pid, started, thread = name.split(" ")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    childs = " ".join([boot, space, str(child.pid), process._started(child.pid), thread])

    assert not gone(name)
    assert not gone(childs)
    assert gone(" ".join([boot, space, pid, started + "1", thread]))
    assert gone(" ".join(["another boot".replace(" ", "-"), space, pid, started, thread]))
    assert not gone(" ".join([boot, "another-container", pid, started + "1", thread]))
    assert not gone("somebody")
    child.communicate(b"\n")
    assert gone(childs)


def test_a_deadline_is_asked_again_before_it_counts() -> None:
    """Events move it later; the heap is brought up to date only when the old time comes."""
    heap = deadlines.Deadlines()
    heap.note("moved", 100)
    heap.note("due", 100)
    heap.note("later", 300)
    moved = {"moved": 250, "due": 100, "later": 300}

    assert heap.due(99, moved.__getitem__) == []
    assert heap.due(150, moved.__getitem__) == ["due"]
    assert heap.due(260, moved.__getitem__) == ["moved"]
    assert heap.due(150 + deadlines.TICK_AGAIN_MS, moved.__getitem__) == ["later", "due"]


def test_a_deadline_that_is_gone_is_forgotten() -> None:
    """The run ended, or has no deadline: nothing to tick, and nothing kept."""
    heap = deadlines.Deadlines()
    heap.note("gone", 100)
    heap.note("none", 0)

    assert heap.due(100, lambda _: 0) == []
    assert heap.next_ms() == 0


def test_the_first_record_of_a_kafka_log_is_applied() -> None:
    """Kafka's offsets begin at 0; what another judge decided of that record counts too."""
    memory = Memory()
    memory.apply(Record(0, 1_000, RunStarted(run="r", agent="lead")), None)

    assert set(memory.state.runs) == {"r"}
