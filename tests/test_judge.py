"""The judge, step by step in this process: what it publishes, remembers, and brings back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.core import events as e
from ledger.core import policy
from ledger.core.codec import dump_run
from ledger.core.shapes import Units
from ledger.core.verdicts import Denial, Verdict
from ledger.judge import Judge, checkpoint
from ledger.judge.checkpoint import MARKER
from ledger.log import JudgeTooOld
from ledger.log.sqlite import SqliteLog
from ledger.wire import decode, encode, encode_verdict
from tests.judging import (
    BRIEF,
    QUICK,
    Fleet,
    append,
    applied,
    caught_up,
    crash,
    forms,
    judge_all,
    log_at,
    memory_of,
    plain,
    published,
    start,
    unsigned,
)
from tests.waiting import wait_for

WANTS = Units(tool_calls=4)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """An empty log."""
    with log_at(tmp_path) as log:
        yield log


def test_verdicts_are_those_of_a_plain_fold(log: SqliteLog) -> None:
    """The shell decides nothing: batches, commits and wake-ups must not show in a verdict."""
    fleet = Fleet(log, "s", seed=1)
    fleet.begin()
    judge = Judge(log)
    for _ in range(20):
        fleet.say(37)
        judge.step()
    judge_all(judge)
    judge.close()
    state, verdicts = plain(log)

    assert len(verdicts) > 100
    assert unsigned(published(log)) == verdicts
    assert forms(applied(log)) == forms(state)


def test_what_was_published_is_applied_not_decided_anew(log: SqliteLog) -> None:
    """Somebody acted on it. A judge with other ideas must take it as it is."""
    start(log, "r", "s")
    first = Judge(log)
    judge_all(first)
    crash(first)
    append(log, e.LeaseRequested(run="r", agent="lead", source="s", seq=2, wants=WANTS))
    epoch = log.take_judgeship("another version", 1, 0)
    said = Verdict(2, "r", "lead", decision="deny", denial=Denial("It said no."))
    assert epoch is not None
    assert log.commit_judged(epoch, 3, verdicts=[(2, "r", encode_verdict(said))])
    assert log.resign(epoch)
    second = Judge(log)
    judge_all(second)

    assert list(published(log)) == [2]
    assert memory_of(second).state.runs["r"].leases == {}
    assert forms(memory_of(second).state) == forms(applied(log))
    second.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_judge_that_crashes_anywhere_leaves_nothing_to_guess(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Between any two slices of a checkpoint the file must hold enough for the next judge."""
    monkeypatch.setattr(checkpoint, "SLICE_RUNS_MAX", 1)  # One run a slice.
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    fleet = Fleet(log, "s", seed=seed, runs=7, pinned=BRIEF if seed % 2 else QUICK)
    fleet.begin()
    for _ in range(6):
        judge = Judge(log)
        for _ in range(fleet.chance.randrange(1, 12)):
            fleet.say(fleet.chance.randrange(1, 30))
            if not fleet.chance.randrange(4):
                fleet.turn_over()
            judge.step()
        crash(judge)
        if fleet.chance.randrange(2):
            fleet.begin()  # Again, after some have ended.
    last = Judge(log)
    judge_all(last)
    state, verdicts = plain(log)

    assert forms(memory_of(last).state) == forms(state)
    assert unsigned(published(log)) == verdicts
    last.close()


def test_a_checkpoint_is_enough_without_the_log_before_it(log: SqliteLog) -> None:
    """Old rows are trimmed; nobody may need them."""
    fleet = Fleet(log, "s", seed=3, pinned=QUICK)
    fleet.begin()
    fleet.say(200)
    judge = Judge(log)
    judge_all(judge)
    judge.close()
    assert log.trim(10**9, 10**9) > 200
    fleet.say(50)
    judge = Judge(log)
    judge_all(judge)
    before = forms(memory_of(judge).state)
    judge.close()
    judge = Judge(log)
    judge_all(judge)

    assert log.start() > 200
    assert forms(memory_of(judge).state) == before
    judge.close()


def test_runs_of_another_version_are_folded_again(log: SqliteLog) -> None:
    """A new version reads no old checkpoint: it has the log, and what was published."""
    fleet = Fleet(log, "s", seed=4)
    fleet.begin()
    fleet.say(300)
    judge = Judge(log)
    judge_all(judge)
    expected = forms(memory_of(judge).state)
    judge.close()
    spoil_checkpoints(log)
    said: list[str] = []
    judge = Judge(log, say=said.append)
    judge_all(judge)

    assert forms(memory_of(judge).state) == expected
    assert said == ["folding 3 runs again: their checkpoints are of another version"]
    judge.close()


def test_a_run_that_nobody_can_read_counts_as_ended(log: SqliteLog) -> None:
    """Guessing what it may still use could grant too much; and the other runs must go on."""
    start(log, "old", "s")
    judge = Judge(log)
    judge_all(judge)
    judge.close()
    spoil_checkpoints(log)
    start(log, "new", "s")
    log.trim(10**9, 10**9)
    said: list[str] = []
    judge = Judge(log, say=said.append)
    ask = e.LeaseRequested(run="old", agent="lead", source="s", seq=2, wants=WANTS)
    offset, _ = append(log, ask, e.LeaseRequested(**{**dict(ask), "run": "new"}))
    judge_all(judge)

    assert "1 runs count as ended, old the first" in said[-1]
    assert published(log)[offset].refusal == "run old has ended"
    assert published(log)[offset + 1].decision == "allow"
    judge.close()


def test_a_run_whose_verdicts_are_trimmed_is_not_guessed_either(log: SqliteLog) -> None:
    """Its events alone would give a history in which nobody ever answered."""
    start(log, "old", "s")
    append(log, e.LeaseRequested(run="old", agent="lead", source="s", seq=2, wants=WANTS))
    judge = Judge(log)
    judge_all(judge)
    judge.close()
    spoil_checkpoints(log)
    assert log.trim(0, 10**9) == 1
    judge = Judge(log, say=lambda _: None)
    judge_all(judge)

    assert memory_of(judge).state.runs == {}
    assert list(memory_of(judge).state.ended) == ["old"]
    judge.close()


def spoil_checkpoints(log: SqliteLog) -> None:
    """Make them look as if another version had written them."""
    found = log.load_checkpoints()
    epoch = log.take_judgeship("spoiler", 1, 0)
    assert epoch is not None
    spoiled = {
        run: state if run == MARKER else b"[99" + state[2:] for run, state in found.states.items()
    }
    assert log.commit_judged(epoch, log.judge().next_offset, checkpoints=spoiled)
    log.resign(epoch)


def test_bytes_that_are_no_event_go_to_the_refused_log(log: SqliteLog) -> None:
    """They stop nobody, and whoever wrote them can read why."""
    start(log, "r", "s")
    ended = encode(e.RunEnded(run="r"))
    log.append([("r", b"{"), ("r", b"x" * 2_000_000), ("other", ended), ("r", b"\xff"), ("", b"")])
    append(log, e.LeaseRequested(run="r", agent="lead", source="s", seq=2, wants=WANTS))
    judge = Judge(log)
    judge_all(judge)
    refused = log.refused(0, 10)

    assert [row.offset for row in refused] == [2, 3, 4, 5, 6]
    assert "EOF" in refused[0].reason
    assert "2000000 bytes are too many" in refused[1].reason
    assert len(refused[1].value) < 100_000
    assert "its key in the log is 'other', it says 'r'" in refused[2].reason
    assert published(log)[7].decision == "allow"
    judge.close()


def test_an_event_that_breaks_the_fold_is_refused_and_the_next_judged(log: SqliteLog) -> None:
    """A bug of ours in one run must not stop every other run of the machine."""
    start(log, "r", "s")
    said: list[str] = []
    judge = Judge(log, say=said.append)
    judge_all(judge)
    broken: Any = memory_of(judge).state.runs["r"]
    broken.leases = None  # As a bug might have left it.
    for seq in (2, 3):
        append(log, e.LeaseRequested(run="r", agent="lead", source="s", seq=seq, wants=WANTS))
    judge_all(judge)

    assert "the judge failed on it: TypeError" in published(log)[2].refusal
    assert published(log)[3].decision == "allow"
    assert "the event at offset 2 is refused" in said[0]
    assert forms(memory_of(judge).state) == forms(applied(log))
    crash(judge)
    judge = Judge(log)
    judge_all(judge)
    assert forms(memory_of(judge).state) == forms(applied(log))
    judge.close()


def test_who_lost_the_judgeship_says_nothing_and_forgets(log: SqliteLog) -> None:
    """A frozen judge wakes with a head full of the past; somebody else has decided since."""
    start(log, "r", "s")
    frozen = Judge(log)
    judge_all(frozen)
    with SqliteLog(log.path) as beside:
        other = Judge(beside)
        assert frozen._term is not None
        frozen._term.chores.close()  # Its heart stands still as well.
        beside.resign(frozen.epoch)  # As if it had been stale.
        assert other.elected()
        append(log, e.LeaseRequested(run="r", agent="lead", source="s", seq=2, wants=WANTS))

        assert frozen.step() == 0
        assert frozen.epoch == 0
        assert published(log) == {}
        assert not frozen.elected()
        judge_all(other)
        assert published(log)[2].generation == other.epoch
        other.close()


def test_an_older_version_may_not_judge(log: SqliteLog) -> None:
    """It would decide otherwise what the newer one already decided."""
    Judge(log, version=99).elected()
    log.resign(1)
    with pytest.raises(JudgeTooOld, match="deciding version 99 has judged here"):
        Judge(log).elected()


def test_an_order_by_a_rule_goes_to_every_client(log: SqliteLog) -> None:
    """A kill must not queue behind verdicts: clients watch the control table and its latch."""
    rule = policy.RunawayFanOut(warning="kill_run")
    strict = policy.Policy(name="strict", findings=policy.Findings(runaway_fan_out=rule))
    start(log, "r", "s", strict)
    names = [f"child {n}" for n in range(9)]
    append(
        log,
        *(
            e.AgentStarted(run="r", agent=name, parent="lead", source="s", seq=2 + n)
            for n, name in enumerate(names)
        ),
    )
    append(log, e.SpawnRequested(run="r", agent="lead", child="more", source="s", seq=11))
    judge = Judge(log)
    judge_all(judge)
    (row,) = log.control(0, 10)
    order = decode(row.value)

    assert isinstance(order, e.OrderGiven)
    assert (row.run, order.run, order.action, order.scope) == ("r", "r", "kill", "run")
    assert order.order in [o.order for v in published(log).values() for o in v.orders]
    assert log.control_hint() == row.pos
    judge.close()


def test_a_quiet_run_is_woken_by_its_deadline(log: SqliteLog) -> None:
    """Time is in the events: where none come, the judge writes one, and leases end."""
    start(log, "r", "s", QUICK)
    append(log, e.LeaseRequested(run="r", agent="lead", source="s", seq=2, wants=WANTS))
    judge = Judge(log)
    judge_all(judge)
    run = memory_of(judge).state.runs["r"]
    assert run.budget.reserved(1) == 4

    wait_for(lambda: judge.step() and not run.budget.reserved(1), what="the lease to end")
    assert run.budget.spent(1) == 4
    last = decode(log.read(log.end() - 2, 1)[0].value)
    assert (last.type, last.source) == ("ticked", "judge")
    assert forms(memory_of(judge).state) == forms(plain(log)[0])
    judge.close()


def test_an_ended_run_is_forgotten_and_stays_ended(log: SqliteLog) -> None:
    """Its tombstone outlives the judge: a late event must not start it again."""
    start(log, "r", "s", QUICK)
    append(log, e.RunEnded(run="r", source="s", seq=2))
    judge = Judge(log)
    judge_all(judge)
    wait_for(lambda: judge.step() or "r" not in memory_of(judge).state.runs, what="it to go")
    judge.close()
    judge = Judge(log)
    start(log, "r", "late", QUICK)
    judge_all(judge)

    assert "r" not in memory_of(judge).state.runs
    assert published(log)[log.end() - 1].refusal == "run r has ended"
    judge.close()


def test_settling_leaves_nothing_to_do(log: SqliteLog) -> None:
    """After SIGTERM the next judge starts at once, from a checkpoint that holds everything."""
    fleet = Fleet(log, "s", seed=5)
    fleet.begin()
    fleet.say(100)
    judge = Judge(log)
    judge_all(judge)
    expected = {run: dump_run(held) for run, held in memory_of(judge).state.runs.items()}
    judge.close()
    found = log.load_checkpoints()
    row = log.judge()

    assert caught_up(log)
    assert row.holder == ""
    assert found.next_offset == log.end()
    assert {run: state for run, state in found.states.items() if run != MARKER} == expected
