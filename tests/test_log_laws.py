"""Laws of the embedded log: whoever does what in whatever order, it equals a list."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.log import JudgeTooOld
from ledger.log.sqlite import SqliteLog

runs = st.sampled_from(["a", "b", "c"])
batches = st.lists(st.tuples(runs, st.binary(max_size=20)), max_size=5)
writers = st.integers(0, 2)


@given(steps=st.lists(st.tuples(writers, batches), max_size=25))
def test_any_interleaving_of_writers_is_one_list_without_gaps(
    steps: list[tuple[int, list[tuple[str, bytes]]]],
) -> None:
    """Three processes append; everybody reads the same history, each finds its own in order."""
    expected: list[tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        logs = [stack.enter_context(SqliteLog(Path(folder) / "l.db")) for _ in range(3)]
        for writer, batch in steps:
            offsets = logs[writer].append(batch)

            assert offsets == list(range(len(expected) + 1, len(expected) + len(batch) + 1))
            expected += batch
        for log in logs:
            rows = log.read(0, 1_000)
            assert [row.offset for row in rows] == list(range(1, len(expected) + 1))
            assert [(row.run, row.value) for row in rows] == expected
            assert [row.append_ms for row in rows] == sorted(row.append_ms for row in rows)
            for run in "abc":
                assert log.read_run(run, 1_000) == [row for row in rows if row.run == run]


judges = st.tuples(st.just("take"), st.integers(0, 2), st.integers(1, 3))
commits = st.tuples(st.just("commit"), st.integers(0, 2), st.integers(0, 4))
beats = st.tuples(st.just("beat"), st.integers(0, 2), st.just(0))
resigns = st.tuples(st.just("resign"), st.integers(0, 2), st.just(0))


@given(steps=st.lists(st.one_of(judges, commits, beats, resigns), max_size=30))
def test_only_the_last_who_took_the_judgeship_writes(steps: list[tuple[str, int, int]]) -> None:
    """Each event is judged once, by one judge at a time, whoever froze, died or came back."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        logs = [stack.enter_context(SqliteLog(Path(folder) / "l.db")) for _ in range(3)]
        logs[0].append([("run", b"event")] * 200)
        epochs = [0, 0, 0]
        epoch = version = 0
        judged: list[int] = []
        vacant = True
        for what, who, number in steps:
            log, mine = logs[who], not vacant and epochs[who] == epoch
            if what == "take" and number < version:
                with pytest.raises(JudgeTooOld):
                    log.take_judgeship(f"judge {who}", number, 0)
            elif what == "take":
                taken = log.take_judgeship(f"judge {who}", number, 0)
                assert taken == epoch + 1
                epochs[who] = epoch = taken
                version, vacant = number, False
            elif what == "beat":
                assert log.heartbeat(epochs[who]) == mine
            elif what == "resign":
                assert log.resign(epochs[who]) == (epochs[who] == epoch)
                vacant = vacant or epochs[who] == epoch
            else:
                first = log.judge().next_offset
                offsets = range(first, first + number)
                verdicts = [(offset, "run", b"%d" % who) for offset in offsets]
                assert log.commit_judged(epochs[who], first + number, verdicts=verdicts) == mine
                judged += offsets if mine else ()
            assert [row.offset for row in log.verdicts(0, 1_000)] == judged == sorted(set(judged))


@settings(max_examples=30)
@given(
    count=st.integers(1, 30),
    marker=st.integers(1, 31),
    bounds=st.tuples(st.integers(-5, 40), st.integers(-5, 40)),
)
def test_a_trim_keeps_what_a_new_judge_needs(
    count: int, marker: int, bounds: tuple[int, int]
) -> None:
    """Whatever the archivist asks for: after the checkpoint everything is there, and the newest."""
    with tempfile.TemporaryDirectory() as folder, SqliteLog(Path(folder) / "l.db") as log:
        log.append([("run", b"")] * count)
        epoch = log.take_judgeship("judge", 1, 0)
        assert epoch is not None
        marker = min(marker, count + 1)
        log.commit_judged(
            epoch, marker, verdicts=[(n, "run", b"") for n in range(1, marker)], checkpoints={}
        )
        log.commit_judged(
            epoch, count + 1, verdicts=[(n, "run", b"") for n in range(marker, count + 1)]
        )
        log.trim(*bounds)

        first = max(1, min(bounds[0], marker, count))
        assert [row.offset for row in log.read(0, 99)] == list(range(first, count + 1))
        first = max(1, min(bounds[1], marker))
        assert [row.pos for row in log.verdicts(0, 99)] == list(range(first, count + 1))
        assert (log.end(), log.verdicts_end()) == (count + 1, count)
