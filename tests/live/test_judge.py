"""The judge among real processes: killed, frozen, contending, started by many, ended by nobody."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ledger.core import events as e
from ledger.core.shapes import Units
from ledger.judge import Judge, ensure, judged
from ledger.log import LogLocked
from ledger.log.sqlite import SqliteLog
from ledger.wire import decode
from tests.judging import (
    QUICK,
    Fleet,
    append,
    applied,
    caught_up,
    flood,
    forms,
    log_at,
    plain,
    published,
    start,
    unsigned,
)
from tests.waiting import wait_for

pytestmark = pytest.mark.live

spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """An empty log; whoever judges it at the end is told to go."""
    with log_at(tmp_path) as log:
        yield log
        for pid in judges(log.path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not judges(log.path), what="the judges to go")


def judges(path: str) -> list[int]:
    """The judge processes of this log, starting or judging or standing by."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"ledger.judge" in words and b"/bin/sh" not in words and path.encode() in words:
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def judge_process(log: SqliteLog, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A judge of the log in the background, judging already."""
    before = log.judge().epoch
    command = [sys.executable, "-m", "ledger.judge", log.path, "--idle-s", "60", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: log.judge().epoch > before, what="the judge to be elected")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@contextlib.contextmanager
def clients(log: SqliteLog, many: int) -> Iterator[None]:
    """Processes that write to the log all the while; they have ended afterwards."""
    stop = spawn.Event()
    names = [f"client{n}" for n in range(many)]
    started = [spawn.Process(target=flood, args=(log.path, name, stop)) for name in names]
    for process in started:
        process.start()
    wait_for(lambda: log.end() > 200, 30, what="the clients to write")
    try:
        yield
    finally:
        stop.set()
        for process in started:
            process.join()
    assert [process.exitcode for process in started] == [0] * many


def freeze(process: subprocess.Popen[bytes], path: str) -> None:
    """Stop the process, but not in the middle of a write, where it would stop everybody."""
    with SqliteLog(path, wait_s=0.5) as probe:
        while True:
            process.send_signal(signal.SIGSTOP)
            try:
                probe.set_meta("probe", 1)
            except LogLocked:
                process.send_signal(signal.SIGCONT)
            else:
                return


def check(log: SqliteLog) -> None:
    """Nothing judged twice, nothing left out, and everything as a plain fold says."""
    wait_for(lambda: caught_up(log), 30, what="everything to be judged")
    state, verdicts = plain(log)

    assert unsigned(published(log)) == verdicts
    assert forms(applied(log)) == forms(state)
    assert len(verdicts) > 50


def judged_beyond(log: SqliteLog, offset: int) -> None:
    """Wait until there are verdicts, or none needed, for so much of the log."""
    wait_for(lambda: log.judge().next_offset > offset, 30, what=f"offset {offset} to be judged")


def test_judges_killed_under_load_leave_one_whole_history(log: SqliteLog) -> None:
    """Invariants 2 and 3: whoever dies where, each event has one verdict, the right one."""
    with clients(log, 3):
        for _ in range(4):
            with judge_process(log) as process:
                judged_beyond(log, log.judge().next_offset + 500)
                process.send_signal(signal.SIGKILL)
    epochs = {verdict.generation for verdict in published(log).values()}
    with judge_process(log):
        check(log)

    assert len(epochs) >= 3


def test_a_frozen_judge_loses_and_says_nothing_more(log: SqliteLog) -> None:
    """It wakes believing that it judges; what it then says must reach nobody."""
    with contextlib.ExitStack() as stack:
        with clients(log, 2), judge_process(log) as first:
            judged_beyond(log, 300)
            freeze(first, log.path)
            stack.enter_context(judge_process(log))
            epoch = log.judge().epoch
            at = log.judge().next_offset
            judged_beyond(log, at + 300)
            first.send_signal(signal.SIGCONT)
            assert first.wait(120) == 0  # It stood by, and was not needed.
            judged_beyond(log, at + 600)
        check(log)
        assert log.judge().epoch == epoch


def test_a_frozen_judge_may_win_again(log: SqliteLog) -> None:
    """If the one that took over dies too, the thawed one takes part in the election."""
    start(log, "r", "s")
    with judge_process(log, "--standby-s", "60") as first:
        freeze(first, log.path)
        with judge_process(log) as second:
            first.send_signal(signal.SIGCONT)
            second.kill()
            second.wait()
            wait_for(lambda: log.judge().epoch == 3, what="the first to judge again")
        append(log, e.RunEnded(run="r", source="s", seq=2))
        wait_for(lambda: caught_up(log), what="it to judge")
    assert forms(applied(log)) == forms(plain(log)[0])


def test_of_contending_judges_one_judges(log: SqliteLog) -> None:
    """Five start at once, as five clients would have it; the others end by themselves."""
    command = [sys.executable, "-m", "ledger.judge", log.path, "--idle-s", "60"]
    started = [subprocess.Popen([*command, "--standby-s", "0.5"]) for _ in range(5)]
    wait_for(lambda: sum(p.poll() is None for p in started) == 1, 30, what="four to end")
    (winner,) = (process for process in started if process.poll() is None)

    assert [process.poll() for process in started if process is not winner] == [0] * 4
    assert log.judge().holder.split()[2] == str(winner.pid)
    assert log.judge().epoch == 1
    winner.terminate()
    assert winner.wait(120) == 0


def test_many_clients_start_one_judge(log: SqliteLog) -> None:
    """Twenty workers of a fleet connect in the same second: one Python starts, not twenty."""
    answers = spawn.SimpleQueue()
    started = [spawn.Process(target=ask_for_judge, args=(log.path, answers)) for _ in range(6)]
    for process in started:
        process.start()
    for process in started:
        process.join()

    assert sum(answers.get() for _ in started) == 1
    wait_for(lambda: judged(log), what="the judge to come up")
    assert len(judges(log.path)) == 1
    assert not ensure(log)


def ask_for_judge(path: str, answers: multiprocessing.SimpleQueue[int]) -> None:
    """Ask until there is a judge, as a client does; how many it started."""
    started = 0
    with SqliteLog(path) as log:
        while not judged(log):
            started += ensure(log)
    answers.put(started)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_another_takes_over_from_one_that_dies_or_freezes(
    log: SqliteLog, end: signal.Signals
) -> None:
    """An agent that waits for a verdict gets it from the next judge. How soon: `tests.bench`."""
    start(log, "r", "s")
    fleet = Fleet(log, "s", seed=1)
    fleet.begin()
    fleet.say(2_000)
    ensure(log)
    for seq in range(2, 6):
        wait_for(lambda: judged(log) and caught_up(log), what="a judge")
        pid = int(log.judge().holder.split()[2])
        os.kill(pid, end)
        wants = e.LeaseRequested(run="r", agent="lead", source="s", seq=seq, wants=Units(tokens=1))
        (offset,) = append(log, wants)
        wait_for_verdict(log, offset)
        with contextlib.suppress(ProcessLookupError):  # It was killed, and is nobody's child.
            os.kill(pid, signal.SIGKILL)


def wait_for_verdict(log: SqliteLog, offset: int) -> None:
    """Wait as a client does: look for the verdict, and a few times a second for the judge."""

    def there() -> bool:
        if next(looks) % 5 == 0:
            ensure(log)
        return any(row.offset == offset for row in log.verdicts(after, 100))

    looks, after = count(), log.verdicts_end()
    wait_for(there, what="a verdict", poll_s=0.02)


def test_a_judge_told_to_end_settles_first(log: SqliteLog) -> None:
    """So that the next one neither waits for a stale heartbeat nor folds anything again."""
    fleet = Fleet(log, "s", seed=2)
    with judge_process(log) as process:
        fleet.begin()
        fleet.say(300)
        wait_for(lambda: caught_up(log), what="it to judge")
        process.terminate()

        assert process.wait(120) == 0
    assert log.judge().holder == ""
    assert log.load_checkpoints().next_offset == log.end()


def test_a_judge_that_nobody_needs_ends(log: SqliteLog) -> None:
    """Nobody stops a service that nobody started; while a client lives it stays."""
    log.register_holder("s")
    with judge_process(log, "--idle-s", "0.5") as process:
        start(log, "r", "s")
        until_s = time.monotonic() + 2
        wait_for(lambda: time.monotonic() > until_s or process.poll() is not None)
        assert process.poll() is None
        log.forget_holders(["s"])

        assert process.wait(120) == 0
    assert log.judge().holder == ""


def test_an_older_judge_ends_and_says_why(log: SqliteLog) -> None:
    """Two versions share the log during an upgrade; the older must not undo the newer."""
    Judge(log, version=99).elected()
    log.resign(1)
    command = [sys.executable, "-m", "ledger.judge", log.path]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 1
    assert ended.stderr.startswith("ledger judge: ")
    assert "deciding version 99 has judged here" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_lease_of_a_quiet_run_ends(log: SqliteLog) -> None:
    """Its holder is silent; time must pass all the same, or its units stay reserved for ever."""
    with judge_process(log):
        start(log, "r", "s", QUICK)
        append(
            log, e.LeaseRequested(run="r", agent="lead", source="s", seq=2, wants=Units(tokens=5))
        )
        ticked = wait_for(lambda: [r for r in log.read(0, 100) if b'"ticked"' in r.value])

    assert decode(ticked[0].value) == e.Ticked(run="r", source="judge")
    run = applied(log).runs["r"]
    assert run.budget.reserved(3) == 0


def test_what_a_killed_process_held_is_over(log: SqliteLog) -> None:
    """Its agents act no more and its leases have no holder; nobody else can say so."""
    with judge_process(log):
        process = spawn.Process(target=hold, args=(log.path,))
        process.start()
        wait_for(lambda: len(published(log)) == 1, 30, what="the lease")
        process.kill()
        process.join()
        lost = wait_for(lambda: [r for r in log.read(0, 100) if b'"holder_lost"' in r.value])
        wait_for(lambda: caught_up(log) and not log.holders(), what="it to be forgotten")

    event = decode(lost[0].value)
    assert isinstance(event, e.HolderLost)
    assert (event.run, event.holder, event.source) == ("r", "doomed", "judge")
    run = applied(log).runs["r"]
    assert run.leases == {}
    assert run.live == 0
    assert len(lost) == 1


def hold(path: str) -> None:
    """Start a run, take a lease, and do nothing until killed."""
    with SqliteLog(path) as log:
        log.register_holder("doomed")
        start(log, "r", "doomed")
        start(log, "another's", "somebody else")
        wants = Units(tool_calls=3)
        append(log, e.LeaseRequested(run="r", agent="lead", source="doomed", seq=2, wants=wants))
        signal.pause()


def test_a_full_disk_delays_verdicts_and_loses_none(log: SqliteLog) -> None:
    """It tries again with what it has folded, says so, and goes on once there is room."""
    fleet = Fleet(log, "s", seed=3)
    fleet.begin()
    with judge_process(log) as process:
        wait_for(lambda: caught_up(log), what="it to judge")
        no_room = (os.path.getsize(log.path), resource.RLIM_INFINITY)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, no_room)
        fleet.say(500)
        assert process.stderr is not None
        said = process.stderr.readline()
        assert b"trying again" in said
        assert b"no space is left" in said
        room = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, room)
        check(log)


def test_a_judge_of_a_log_that_is_gone_ends(log: SqliteLog, tmp_path: Path) -> None:
    """Somebody cleaned up the folder; a process that judges a deleted file helps nobody."""
    with judge_process(log) as process:
        os.rename(log.path, tmp_path / "elsewhere.db")
        assert process.stderr is not None

        assert process.wait(120) == 1
        said = process.stderr.read().decode()
        os.rename(tmp_path / "elsewhere.db", log.path)
    assert "the file was removed or replaced while in use" in said
    assert "Traceback" not in said


def test_a_judge_of_a_damaged_log_ends(log: SqliteLog, tmp_path: Path) -> None:
    """It says which file and what to do, and is not started in a loop that hides it."""
    fleet = Fleet(log, "s", seed=8)
    fleet.begin()
    fleet.say(2_000)
    damaged = tmp_path / "damaged.db"
    log.tidy(0)
    size = os.path.getsize(log.path)
    damaged.write_bytes(Path(log.path).read_bytes()[:8192] + b"\x55" * (size - 8192))
    command = [sys.executable, "-m", "ledger.judge", str(damaged), "--idle-s", "1"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 1
    assert f"{damaged}: the file is damaged" in ended.stderr
    assert "Traceback" not in ended.stderr
