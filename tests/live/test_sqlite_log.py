"""The embedded log among real processes: killed, frozen, forked, contending."""

import contextlib
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ledger.log.sqlite import SqliteLog
from tests.waiting import wait_for

pytestmark = pytest.mark.live

spawn = multiprocessing.get_context("spawn")
ACK = struct.Struct("<QQ")


def appender(path: str, name: str, acks: int) -> None:
    """Append for ever; write (offset, number) to the pipe for each that was acknowledged."""
    with SqliteLog(path) as log:
        number = 0
        while True:
            batch = [(name, b"%d" % n) for n in range(number, number + 1 + number % 7)]
            offsets = log.append(batch)
            os.write(acks, b"".join(map(ACK.pack, offsets, range(number, number + len(batch)))))
            number += len(batch)


def start_appender(path: Path, name: str) -> tuple[subprocess.Popen[bytes], int]:
    """An appender process, and the pipe with what it was told is safe."""
    read_end, write_end = os.pipe()
    code = (
        "import sys; from tests.live.test_sqlite_log import appender; "
        "appender(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code, str(path), name, str(write_end)], pass_fds=[write_end]
    )
    os.close(write_end)
    return started, read_end


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Invariant 1. Three processes append and are killed anywhere, again and again."""
    path = tmp_path / "ledger.db"
    acked: dict[int, tuple[str, bytes]] = {}
    SqliteLog(path).close()
    for round_number in range(5):
        names = [f"{round_number}-{n}" for n in range(3)]
        started = [start_appender(path, name) for name in names]
        for (process, pipe), name in zip(started, names, strict=True):
            with open(pipe, "rb") as acks:
                told = acks.read(ACK.size * (20 + 13 * round_number))  # So far it got, at least.
                process.send_signal(signal.SIGKILL)
                process.wait()
                told += acks.read()  # And what it was told up to its end.
            for offset, number in ACK.iter_unpack(told[: len(told) // ACK.size * ACK.size]):
                acked[offset] = (name, b"%d" % number)

    with SqliteLog(path) as log:
        rows = log.read(0, 10**6)
        assert [row.offset for row in rows] == list(range(1, len(rows) + 1))
        kept = {row.offset: (row.run, row.value) for row in rows}
        assert {offset: kept.get(offset) for offset in acked} == acked
        for name in {row.run for row in rows}:
            mine = [int(row.value) for row in rows if row.run == name]
            assert mine == list(range(len(mine)))
    assert len(acked) > 300


def contender(path: str, name: str, pipe: Connection) -> None:
    """Judge what is told to: each message is a verb, each answer what the log said."""
    with SqliteLog(path) as log:
        epoch = None
        pipe.send(os.getpid())
        while (verb := pipe.recv()) != "end":
            if verb == "take":
                epoch = log.take_judgeship(name, 1, 300)
                pipe.send(epoch)
            elif verb == "race":
                while (epoch := log.take_judgeship(name, 1, 0)) is None:
                    pass
                pipe.send(epoch)
            elif verb == "beat":
                pipe.send(log.heartbeat(epoch or 0))
            else:
                first = log.judge().next_offset
                verdicts = [(first, "run", name.encode())]
                pipe.send(log.commit_judged(epoch or 0, first + 1, verdicts=verdicts))


def ask(pipe: Connection, verb: str) -> object:
    pipe.send(verb)
    assert pipe.poll(30), f"no answer to {verb}"
    return pipe.recv()


def test_a_frozen_judge_loses_its_office_and_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    """A suspended laptop, a stopped process: what it had decided was decided by another since."""
    path = str(tmp_path / "ledger.db")
    with SqliteLog(path) as log:
        log.append([("run", b"event")] * 5)
        mine, theirs = spawn.Pipe()
        other = spawn.Process(target=contender, args=(path, "frozen", theirs), daemon=True)
        other.start()
        pid = mine.recv()
        assert ask(mine, "take") == 1
        assert ask(mine, "commit") is True
        assert log.take_judgeship("next", 1, 300) is None

        os.kill(pid, signal.SIGSTOP)
        epoch = wait_for(lambda: log.take_judgeship("next", 1, 300), what="the heartbeat to age")
        assert epoch == 2
        assert log.commit_judged(epoch, 3, verdicts=[(2, "run", b"next")])
        os.kill(pid, signal.SIGCONT)
        assert ask(mine, "commit") is False
        assert ask(mine, "beat") is False
        assert ask(mine, "take") is None
        mine.send("end")
        other.join(120)

        assert [row.value for row in log.verdicts(0, 9)] == [b"frozen", b"next"]
        assert log.judge().next_offset == 3


def test_two_that_grab_the_judgeship_get_different_epochs(tmp_path: Path) -> None:
    """Both see a stale heartbeat at once; one of them is the judge."""
    path = str(tmp_path / "ledger.db")
    with SqliteLog(path) as log:
        pipes = []
        for name in ("a", "b"):
            mine, theirs = spawn.Pipe()
            spawn.Process(target=contender, args=(path, name, theirs), daemon=True).start()
            pipes.append(mine)
        for pipe in pipes:
            pipe.recv()
        for _ in range(50):
            for pipe in pipes:
                pipe.send("race")
            epochs = [pipe.recv() for pipe in pipes]
            answers = [ask(pipe, "beat") for pipe in pipes]

            assert epochs[0] != epochs[1]
            assert answers == [epochs[0] > epochs[1], epochs[1] > epochs[0]]
        for pipe in pipes:
            pipe.send("end")

        assert log.judge().epoch == 100


def test_a_killed_holder_is_lost_and_a_living_one_is_not(tmp_path: Path) -> None:
    """Its leases are forfeit and its agents are over, as soon as that is proved."""
    code = (
        "import sys; from ledger.log.sqlite import SqliteLog\n"
        "SqliteLog(sys.argv[1]).register_holder('child'); print('there', flush=True)\n"
        "sys.stdin.read()"
    )
    path = tmp_path / "ledger.db"
    with (
        SqliteLog(path) as log,
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline() == b"there\n"
        assert log.lost_holders() == []

        child.kill()
        # Nobody has waited for it yet: it is a zombie, has a number, and acts no more.
        wait_for(lambda: log.lost_holders() == ["child"], what="the holder to be lost")
        child.wait()
        assert log.lost_holders() == ["child"]


FORK = """if True:
    import os, sys, threading
    from ledger.log.sqlite import SqliteLog
    log = SqliteLog(sys.argv[1])
    stop = threading.Event()
    def write(name):
        n = 0
        while not stop.is_set():
            log.append([(name, b"%d" % n)]); n += 1
            log.read(0, 5)
    threads = [threading.Thread(target=write, args=(f"thread-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    children = []
    for n in range(15):
        pid = os.fork()
        if pid == 0:
            for k in range(5):
                log.append([(f"child-{n}", b"%d" % k)])
            assert log.read_run(f"child-{n}", 9)[4].value == b"4"
            if n % 2:
                log.close()
            os._exit(0)
        children.append(pid)
        log.append([("parent", b"%d" % n)])
    failed = [status for pid in children if (status := os.waitpid(pid, 0)[1])]
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed
    log.close()
    print("ok")
"""


def test_a_fork_in_the_middle_of_appends_is_safe_on_both_sides(tmp_path: Path) -> None:
    """multiprocessing forks by default on Linux; SQLite connections must not cross that."""
    path = tmp_path / "ledger.db"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("ok\n", "")

    with SqliteLog(path) as log:
        rows = log.read(0, 10**6)
        assert [row.offset for row in rows] == list(range(1, len(rows) + 1))
        for name in {row.run for row in rows}:
            mine = [int(row.value) for row in rows if row.run == name]
            assert mine == list(range(len(mine)))
        assert len({row.run for row in rows}) == 18


ORPHAN = """if True:
    import os, signal, sys, threading
    from ledger.log.sqlite import SqliteLog
    log = SqliteLog(sys.argv[1])
    inside, forked = threading.Event(), threading.Event()
    assert log._file.lock.acquire(1)  # Another thread holds it while this one forks.
    if os.fork() == 0:
        os.setsid()
        print(os.getpid(), flush=True)
        signal.pause()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    """A flock lives as long as any copy of its descriptor: forgotten, it would lock all out."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path, wait_s=5) as log:
        parent = subprocess.Popen(
            [sys.executable, "-c", ORPHAN, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.wait(120)
            assert log.append([("run", b"")]) == [1]
        finally:
            os.kill(child, signal.SIGKILL)
            parent.stdout.close()


INHERIT = """if True:
    import os, signal, sys
    from ledger.log.sqlite import SqliteLog
    log = SqliteLog(sys.argv[1])
    log.append([("run", b"parent")])
    if os.fork() == 0:
        log.append([("run", b"child")])
        print(os.getpid(), flush=True)
        sys.stdin.readline()
        print(log.append([("run", b"child again")]), flush=True)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_holds_locks_of_its_own(tmp_path: Path) -> None:
    """With its parent's connection it holds none: who closes the log then thinks it is the
    last, deletes the write-ahead log, and what the child appends next goes nowhere."""
    path = tmp_path / "ledger.db"
    parent = subprocess.Popen(
        [sys.executable, "-c", INHERIT, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdin is not None
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        parent.wait(120)
        with SqliteLog(path) as log:
            assert log.append([("run", b"other")]) == [3]
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "[4]\n"
        assert parent.stdout.read() == ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        parent.stdin.close()
        parent.stdout.close()

    with SqliteLog(path) as log:
        assert [row.value for row in log.read(3, 9)] == [b"child again"]


def test_a_fork_behind_pythons_back_is_refused(tmp_path: Path) -> None:
    """A C library's fork runs no hooks: the child holds a connection that lies about locks."""
    code = """if True:
        import ctypes, os, sys
        from ledger.log import LogClosed
        from ledger.log.sqlite import SqliteLog
        log = SqliteLog(sys.argv[1])
        log.append([("run", b"parent")])
        if ctypes.CDLL(None).fork() == 0:
            for use in (lambda: log.append([("run", b"child")]), log.end):
                try:
                    use()
                except LogClosed as problem:
                    print(problem, flush=True)
            log.close()
            os._exit(0)
        os.wait()
        log.append([("run", b"parent")])
    """
    path = tmp_path / "ledger.db"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )

    assert done.stdout.count("open the log after the fork") == 2
    with SqliteLog(path) as log:
        assert [row.value for row in log.read(0, 9)] == [b"parent", b"parent"]


INTERRUPT = """if True:
    import os, signal, sys
    from ledger.log.sqlite import SqliteLog
    log = SqliteLog(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        log.append([("run", b"interrupted")])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    sys.stdin.readline()
    print(log.append([("run", b"later")]), flush=True)
    sys.stdin.readline()
"""


def test_an_interrupted_wait_does_not_take_the_lock_with_it(tmp_path: Path) -> None:
    """Ctrl-C while the log is busy: the lock must not be granted to somebody who left."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path, wait_s=5) as log:
        command = [sys.executable, "-c", INTERRUPT, str(path)]
        other = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        assert log._file.lock.acquire(1)
        try:
            other.stdin.write("\n")
            # Its helper thread stands in the kernel's queue, which shows as a waiter ("->").
            waiting = f"-> FLOCK  ADVISORY  WRITE {other.pid} "
            wait_for(lambda: waiting in Path("/proc/locks").read_text(), what="it to wait")
            other.send_signal(signal.SIGINT)
            assert other.stdout.readline() == "interrupted\n"
        finally:
            log._file.lock.release()

        assert log.append([("run", b"mine")]) == [1]
        other.stdin.write("\n")
        assert other.stdout.readline() == "[2]\n"
        assert log.append([("run", b"mine")]) == [3]
        other.communicate("\n", timeout=120)
