"""What goes wrong with a file: said clearly, nothing lost, and work goes on when it is mended."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from ledger.errors import LedgerError
from ledger.log import (
    LogCorrupt,
    LogError,
    LogForeign,
    LogLocked,
    LogMissing,
    LogUnwritable,
)
from ledger.log.sqlite import SqliteLog
from tests.waiting import wait_for

ONE = [("run", b"x" * 1_000)]


def run(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> str:
    """Run Python code elsewhere; what it printed."""
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_every_error_names_the_file_and_what_to_do(tmp_path: Path) -> None:
    """The reader is a person with a stopped fleet."""
    with pytest.raises(LogMissing) as caught:
        SqliteLog(tmp_path / "no.db", create=False)

    assert isinstance(caught.value, LedgerError)
    assert caught.value.path == str(tmp_path / "no.db")
    assert str(caught.value) == f"{tmp_path}/no.db: there is no log here; check the path"


def test_looking_for_a_log_makes_none(tmp_path: Path) -> None:
    """`ledger runs` in the wrong folder must not leave a file there."""
    with pytest.raises(LogMissing):
        SqliteLog(tmp_path / "ledger.db", create=False)
    (tmp_path / "empty.db").touch()
    with pytest.raises(LogMissing, match="empty"):
        SqliteLog(tmp_path / "empty.db", create=False)

    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    """SQLite says "unable to open database file"."""
    with pytest.raises(LogMissing, match="make the folder first"):
        SqliteLog(tmp_path / "no" / "ledger.db")


@pytest.mark.parametrize("content", [b"hello, world\n" * 100, b"\0" * 8192, b"PK\x03\x04"])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Somebody mistyped `--log report.txt`."""
    path = tmp_path / "report.txt"
    path.write_bytes(content)
    with pytest.raises(LogForeign, match="name another file"):
        SqliteLog(path)

    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """Not even its journal mode changes."""
    path = tmp_path / "history.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE visits(url)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(LogForeign, match="another program"):
        SqliteLog(path)

    assert path.read_bytes() == before


def test_a_newer_format_is_not_touched(tmp_path: Path) -> None:
    """An older installation that guesses would write what the newer one misreads."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path) as log:
        log.append(ONE)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=99")
    database.close()

    with pytest.raises(LogForeign, match=r"format is 99.*upgrade"):
        SqliteLog(path)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_something_that_is_no_file_is_said(tmp_path: Path, kind: str) -> None:
    """A pipe would hang for ever."""
    path = tmp_path / "ledger.db"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(LogForeign, match="no file"):
        SqliteLog(path)


def test_a_damaged_file_is_said_and_not_made_worse(tmp_path: Path) -> None:
    """Disks fail, and people copy files in the middle of a write."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path) as log:
        log.append(ONE * 500)
    raw = bytearray(path.read_bytes())
    for page in range(8, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 16] = b"\xde" * 16
    path.write_bytes(raw)

    with pytest.raises(LogCorrupt, match="keep a copy"), SqliteLog(path) as log:
        log.read(0, 1_000)
    assert path.read_bytes() == bytes(raw)


def test_a_file_cut_short_is_said(tmp_path: Path) -> None:
    """What an interrupted copy leaves."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path) as log:
        log.append(ONE * 500)
    os.truncate(path, 8192)

    with pytest.raises(LogCorrupt), SqliteLog(path) as log:
        log.read(0, 1_000)


def test_a_log_removed_while_in_use_takes_no_more_events(tmp_path: Path) -> None:
    """SQLite would go on writing into the deleted file, and every event would be lost."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path) as log:
        log.append(ONE)
        aside = path.rename(tmp_path / "aside.db")
        with pytest.raises(LogMissing, match="removed or replaced"):
            log.append(ONE)

        aside.rename(path)
        assert log.append(ONE) == [2]


def test_a_folder_without_rights_is_said(tmp_path: Path) -> None:
    """As root every file is writable, so somebody else tries."""
    if os.getuid() != 0:
        os.chmod(tmp_path, 0o500)
        with pytest.raises(LogUnwritable, match="check the rights"):
            SqliteLog(tmp_path / "ledger.db")
        os.chmod(tmp_path, 0o700)
        return
    for folder in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in folder.parents:
            os.chmod(folder, 0o755)
    with SqliteLog(tmp_path / "old.db") as log:
        log.append(ONE)
    code = """if True:
        import os, sys
        from ledger.log import LogError
        from ledger.log.sqlite import SqliteLog
        os.setuid(65534)
        for name in ("new.db", "old.db"):
            try:
                SqliteLog(sys.argv[1] + "/" + name)
            except LogError as problem:
                print(type(problem).__name__, problem)
    """

    said = run(code, tmp_path).splitlines()
    assert [line.split()[0] for line in said] == ["LogUnwritable", "LogUnwritable"]
    assert all("check the rights" in line for line in said)


FILL = """if True:
    import os, resource, sys
    from ledger.log import LogFull
    from ledger.log.sqlite import SqliteLog
    log = SqliteLog(sys.argv[1])
    log.append([("run", b"first")])
    def full():
        kept = log.end() - 1
        try:
            for n in range(100_000):
                kept = log.append([("run", b"x" * 5_000)] * 3)[-1]
        except LogFull as problem:
            assert "free some space" in str(problem), problem
            return kept
        raise AssertionError("it never got full")
    def check(kept):
        assert log.end() == kept + 1, (log.end(), kept)
        assert [row.offset for row in log.read(0, 10**6)] == list(range(1, kept + 1))
"""


def test_a_full_disk_loses_nothing_and_the_same_log_goes_on_when_there_is_space(
    tmp_path: Path,
) -> None:
    """Agents run for days; somebody frees space, and nobody restarts them for that."""
    code = (
        FILL
        + """
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, -1))
    kept = full()
    check(kept)
    assert full() == kept  # Small ones fail as well, and change nothing.
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    assert log.append([("run", b"again")]) == [kept + 1]
    check(kept + 1)
    log.close()
    with SqliteLog(sys.argv[1]) as log:
        check(kept + 1)
    print("ok")
    """
    )

    assert resource.RLIM_INFINITY == -1
    assert run(code, tmp_path / "ledger.db") == "ok\n"


def test_a_really_full_file_system_loses_nothing(tmp_path: Path) -> None:
    """The limit above is of one process; here the device itself has no block left."""
    script = 'mount -t tmpfs -o size=5m none "$1" && shift && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path))
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system needs root and unshare(1)")
    code = (
        FILL
        + """
    ballast = sys.argv[1] + ".ballast"
    with open(ballast, "wb") as file:
        file.write(b"x" * 3_000_000)
    kept = full()
    check(kept)
    try:
        log.tidy(wal_pages=0)  # What is in the WAL has no place in the file; it stays there.
    except LogFull:
        check(kept)
    try:
        SqliteLog(sys.argv[1] + ".second.db")
    except LogFull:
        pass
    os.remove(ballast)
    assert log.append([("run", b"again")]) == [kept + 1]
    assert log.tidy(wal_pages=0)
    check(kept + 1)
    print("ok")
    """
    )

    assert run(code, tmp_path / "ledger.db", prefix=prefix) == "ok\n"


def test_a_frozen_writer_is_named_and_costs_nothing_but_time(tmp_path: Path) -> None:
    """Somebody pressed Ctrl-Z in the wrong window: the others must say so, not hang for ever."""
    path = tmp_path / "ledger.db"
    code = """if True:
        import os, signal, sys
        from ledger.log.sqlite import SqliteLog
        log = SqliteLog(sys.argv[1])
        def freeze(connection):
            print("frozen", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        log._file.write(freeze)
        log.append([("run", b"thawed")])
    """
    with (
        SqliteLog(path, wait_s=0.3) as log,
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "frozen\n"
            for _ in range(2):
                with pytest.raises(LogLocked, match=f"process {other.pid} .*resume or end it"):
                    log.append([("run", b"too early")])
            assert log.read(0, 9) == []  # Reading waits for no writer.

            os.kill(other.pid, signal.SIGCONT)
            assert other.wait(120) == 0
            wait_for(lambda: log.append([("run", b"after")]), what="an append")
        finally:
            other.kill()
        assert [row.value for row in log.read(0, 9)] == [b"thawed", b"after"]


def test_threads_that_wait_behind_a_frozen_writer_all_hear_of_it(tmp_path: Path) -> None:
    """Each gets its own answer: refused, and not written later behind its back."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path, wait_s=0.2) as log, SqliteLog(path) as other:
        results: list[LogError | list[int]] = []

        def attempt() -> None:
            try:
                results.append(log.append([("run", b"late")]))
            except LogError as problem:
                results.append(problem)

        assert other._file.lock.acquire(1)
        threads = [threading.Thread(target=attempt) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        other._file.lock.release()

        assert [type(result) for result in results] == [LogLocked] * 6
        assert wait_for(lambda: log.append(ONE), what="an append") == [1]
        assert len(log.read(0, 99)) == 1
