"""`ledger up` judges and archives until it is told to end, beside other judges and imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import wire
from ledger.archive.archivist import Archivist
from ledger.archive.table import Table
from ledger.core.events import RunEnded, RunStarted
from ledger.judge import judged
from ledger.log.sqlite import SqliteLog
from tests.cli.calling import ledger, process
from tests.cli.test_runs import TRACE
from tests.waiting import wait_for

pytestmark = pytest.mark.live
LONG_S = 120.0
"""The archivist stands back behind whatever else this machine does, other tests too."""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`ledger up` on a log that it makes itself."""
    command = [sys.executable, "-m", "ledger.cli", "--log", str(tmp_path / "ledger.db"), "up"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout
    assert started.stdout.readline().startswith("ledger up: log ")
    with SqliteLog(tmp_path / "ledger.db") as log:
        wait_for(lambda: judged(log), LONG_S, what="ledger up to judge")
    yield started
    started.kill()
    started.communicate()


def test_what_is_recorded_is_judged_archived_and_kept_at_the_end(
    up: subprocess.Popen[str], tmp_path: Path
) -> None:
    """A supervisor sends SIGTERM; nothing may be left half done."""
    with SqliteLog(tmp_path / "ledger.db") as log:
        log.append([("r1", wire.encode(RunStarted(run="r1", agent="lead")))])
        wait_for(lambda: log.judge().next_offset == log.end(), LONG_S, what="the judge")
        wait_for(lambda: log.meta("archived_offset") == log.end(), LONG_S, what="the archivist")
        log.append([("r1", wire.encode(RunEnded(run="r1", agent="lead")))])
        up.send_signal(signal.SIGTERM)
        out, err = up.communicate(timeout=LONG_S)

        assert (up.returncode, err) == (0, "")
        assert out.startswith("ledger up: ended, 2 events")
        assert log.judge().next_offset == 3
        assert Table.open(tmp_path / "ledger.db-archive").next_position("events") == 3


def archivists(log: Path) -> list[int]:
    """The processes that archive this log."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # It ended while we looked.
        if b"ledger.cli.archiving" in words and os.fsencode(log) in words:
            found.append(int(folder.name))
    return found


def test_an_archivist_that_dies_is_started_again(up: subprocess.Popen[str], tmp_path: Path) -> None:
    """The system ends whoever takes most memory, and judging goes on meanwhile."""
    path = tmp_path / "ledger.db"
    (first,) = archivists(path)
    os.kill(first, signal.SIGKILL)
    with SqliteLog(path) as log:
        log.append([("r1", wire.encode(RunStarted(run="r1", agent="lead")))])
        wait_for(lambda: log.judge().next_offset == log.end(), LONG_S, what="the judge")
        wait_for(lambda: log.meta("archived_offset") == log.end(), LONG_S, what="the next one")
    (second,) = archivists(path)
    os.kill(second, signal.SIGKILL)
    up.send_signal(signal.SIGTERM)
    _, err = up.communicate(timeout=LONG_S)

    assert second != first
    assert up.returncode == 0
    assert "the archivist is started again in 2 s: it ended with -9" in err
    assert Table.open(tmp_path / "ledger.db-archive").next_position("events") == 2


def test_an_archivist_ends_with_its_parent(up: subprocess.Popen[str], tmp_path: Path) -> None:
    """Else who starts `ledger up` again and again has many of them."""
    assert len(archivists(tmp_path / "ledger.db")) == 1
    up.kill()
    up.wait()

    wait_for(lambda: not archivists(tmp_path / "ledger.db"), LONG_S, what="its end")


def test_an_archive_of_another_log_is_said_before_anything_is_judged(tmp_path: Path) -> None:
    """A wrong --archive must not be found out when the log is full."""
    for name in ("one", "two"):
        with SqliteLog(tmp_path / f"{name}.db") as log:
            log.append([("r1", wire.encode(RunStarted(run="r1", agent="lead")))])
            if name == "one":
                Archivist(log, tmp_path / "archive").drain()
    said = process("--log", tmp_path / "two.db", "--archive", tmp_path / "archive", "up")

    assert said.code == 2
    assert said.err.startswith(f"ledger: the archive at {tmp_path / 'archive'} holds log ")


def test_an_import_beside_it_leaves_judging_to_it(
    up: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Two judges and two archivists on one log: each record is there once all the same."""
    body = {"task_id": 1, "trial": 0, "reward": 1.0, "traj": TRACE}
    (tmp_path / "trace.json").write_text(json.dumps([body]))
    log = tmp_path / "ledger.db"
    said = ledger("--log", log, "import", "openai", tmp_path / "trace.json", "--json")
    twice = ledger("--log", log, "import", "openai", tmp_path / "trace.json", "--json")
    events = json.loads(said.out)["events"]
    with SqliteLog(log) as opened:
        recorded = opened.end() - 1
    counted = json.loads(ledger("--log", log, "sql", "select count(*) n from events", "--json").out)

    assert json.loads(twice.out)["events"] == 0
    assert recorded == events + 1
    assert counted == [{"n": recorded}]
    assert ledger("--log", log, "archive", "verify").code == 0


def test_a_second_one_stands_by(up: subprocess.Popen[str], tmp_path: Path) -> None:
    """Who starts it twice by mistake has a spare, not a quarrel."""
    second = subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", "--log", tmp_path / "ledger.db", "up"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert second.stdout
    second.stdout.readline()
    with SqliteLog(tmp_path / "ledger.db") as log:
        holder = log.judge().holder
        up.kill()
        up.wait()

        assert wait_for(
            lambda: judged(log) and log.judge().holder != holder, LONG_S, what="the spare"
        )
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=LONG_S)
    assert second.returncode == 0
