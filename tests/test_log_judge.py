"""The embedded log, one process: who judges, what a judgement is, what a trim may take."""

from pathlib import Path

import pytest

from ledger.log import JudgeTooOld
from ledger.log import sqlite_rows as rows
from ledger.log.sqlite import SqliteLog
from ledger.log.sqlite_rows import Refusal


def events(count: int, run: str = "run") -> list[tuple[str, bytes]]:
    return [(run, b"%d" % number) for number in range(count)]


def judge(log: SqliteLog) -> int:
    epoch = log.take_judgeship("judge", 1, 1_000)
    assert epoch is not None
    return epoch


def test_one_judge_at_a_time(log: SqliteLog) -> None:
    """Two would decide the same request twice."""
    epoch = judge(log)

    assert log.take_judgeship("other", 1, 60_000) is None
    assert log.take_judgeship("other", 1, 0) == epoch + 1
    assert log.heartbeat(epoch) is False
    assert log.heartbeat(epoch + 1) is True
    assert log.judge().holder == "other"


def test_a_judge_that_resigns_is_followed_at_once(log: SqliteLog) -> None:
    """An orderly end must not cost the agents a second without decisions."""
    epoch = judge(log)
    assert log.resign(epoch) is True

    assert log.heartbeat(epoch) is False
    assert log.commit_judged(epoch, 1) is False
    assert log.take_judgeship("next", 1, 60_000) == epoch + 1


def test_an_older_version_may_not_judge(log: SqliteLog) -> None:
    """It would decide otherwise what a newer one has published."""
    assert log.take_judgeship("new", 7, 1_000) is not None
    with pytest.raises(JudgeTooOld, match="deciding version 7") as caught:
        log.take_judgeship("old", 6, 0)

    assert (caught.value.version, caught.value.needed) == (6, 7)
    assert log.judge().holder == "new"


def test_a_judgement_is_one_transaction(log: SqliteLog) -> None:
    """Verdicts, place, states, ticks, orders and refusals are there together or not at all."""
    log.append(events(3))
    epoch = judge(log)
    done = log.commit_judged(
        epoch,
        4,
        verdicts=[(1, "run", b"allow"), (3, "run", b"deny")],
        checkpoints={"run": b"state"},
        refused=[Refusal(2, "source", "why", b"bytes")],
        controls=[("run", b"kill")],
        ticks=[("run", b"tick")],
    )

    assert done
    assert [(row.offset, row.value) for row in log.verdicts(0, 9)] == [(1, b"allow"), (3, b"deny")]
    assert log.verdicts(0, 9, run="other") == []
    assert log.load_checkpoints() == (4, 2, {"run": b"state"})
    assert log.refused(0, 9)[0].offset == 2
    assert log.control_hint() == 1
    assert log.read(3, 9)[0].value == b"tick"
    assert log.judge().next_offset == 4


def test_who_lost_the_judgeship_writes_nothing(log: SqliteLog) -> None:
    """A frozen judge wakes up with old verdicts in its hands."""
    log.append(events(3))
    old = judge(log)
    assert log.take_judgeship("new", 1, 0) is not None
    before = log.end()
    done = log.commit_judged(
        old,
        4,
        verdicts=[(1, "run", b"late")],
        checkpoints={"run": b"late"},
        refused=[Refusal(2, "s", "r", b"")],
        controls=[("run", b"late")],
        ticks=[("run", b"late")],
    )

    assert done is False
    assert (log.verdicts(0, 9), log.refused(0, 9), log.control(0, 9)) == ([], [], [])
    assert log.load_checkpoints() == (1, 0, {})
    assert log.end() == before
    assert log.control_hint() == 0


def test_checkpoints_may_lag_behind_verdicts(log: SqliteLog) -> None:
    """A new judge applies what was decided between, and decides from `next_offset` on."""
    log.append(events(4))
    epoch = judge(log)
    log.commit_judged(epoch, 2, verdicts=[(1, "run", b"v1")], checkpoints={"a": b"1", "b": b"1"})
    log.commit_judged(epoch, 4, verdicts=[(3, "run", b"v3")])
    assert log.load_checkpoints() == (2, 1, {"a": b"1", "b": b"1"})
    assert log.judge().next_offset == 4

    log.commit_judged(epoch, 5, checkpoints={"a": None, "b": b"2"})
    assert log.load_checkpoints() == (5, 2, {"b": b"2"})


def test_a_trim_takes_only_what_is_checkpointed_too(log: SqliteLog) -> None:
    """A judge that restarts folds from the checkpoint: what comes after must be there."""
    log.append(events(10))
    epoch = judge(log)
    log.commit_judged(epoch, 5, verdicts=[(1, "r", b""), (2, "r", b"")], checkpoints={})
    log.commit_judged(epoch, 9, verdicts=[(6, "r", b""), (7, "r", b"")])
    log.trim(3, 0)  # So far the archive is.
    assert (log.start(), len(log.verdicts(0, 99))) == (3, 4)

    log.trim(100, 100)
    assert [row.offset for row in log.read(0, 99)] == [5, 6, 7, 8, 9, 10]
    assert [row.offset for row in log.verdicts(0, 99)] == [6, 7]


def test_offsets_and_time_go_on_after_everything_was_trimmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain row ids start again at 1, and two events of one offset are one too few."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path) as log:
        log.append(events(6_000))  # More than one step of a trim.
        clock = log.read(5_999, 1)[0].append_ms
        log.commit_judged(judge(log), 6_001, checkpoints={})
        assert log.trim(6_001, 1) == 5_999  # The newest stays, for the clock.
    monkeypatch.setattr(rows, "now_ms", lambda: clock - 1_000)
    with SqliteLog(path) as log:
        assert log.append(events(1)) == [6_001]
        assert log.read(6_000, 1)[0].append_ms == clock


def test_a_holder_that_lives_is_not_lost(log: SqliteLog) -> None:
    """To call a living process lost would free leases that it goes on spending."""
    log.register_holder("me")
    log.register_holder("nobody", pid=2**22 + 1)  # Beyond the kernel's highest process number.

    assert log.holders() == ["me", "nobody"]
    assert log.lost_holders() == ["nobody"]
    log.forget_holders(["nobody"])
    assert log.holders() == ["me"]


def test_a_process_number_used_again_is_another_process(log: SqliteLog) -> None:
    """Numbers come round; the tick of the start does not."""
    log.register_holder("me")
    log._file.write(
        lambda connection: connection.execute("UPDATE holders SET started = started - 1")
    )

    assert log.lost_holders() == ["me"]


def test_a_holder_in_another_container_is_never_called_lost(log: SqliteLog) -> None:
    """Its process number means somebody else here."""
    log.register_holder("me", pid=2**22 + 1)
    log._file.write(
        lambda connection: connection.execute("UPDATE holders SET place = place || '1'")
    )

    assert log.lost_holders() == []
