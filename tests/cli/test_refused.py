"""`ledger refused` on a log that is a file: what was no event, why, and its bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.judge import Judge
from ledger.log.sqlite import SqliteLog
from tests.cli.calling import ledger

TEXT = b'{"type":"run_dreamt","run":"r","source":"host-7"}'
RAW = b"\xff\xfe\x1b[31m no"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A judged log with two records that are no event."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path, create=True) as opened:
        opened.append([("r", TEXT), ("r", RAW)])
        judge = Judge(opened)
        while judge.step():
            pass
        judge.close()
    return path


def test_the_latest_stands_first(log: Path) -> None:
    rows = json.loads(ledger("--log", log, "refused", "--json").out)

    assert [row["offset"] for row in rows] == [2, 1]
    assert [row["source"] for row in rows] == ["key r", "host-7"]
    assert "run_dreamt" in rows[1]["reason"]
    assert [row["size"] for row in rows] == [len(RAW), len(TEXT)]
    assert ledger("--log", log, "refused").out.count("\n") == 3


def test_it_filters_by_source_and_reason(log: Path) -> None:
    """A fleet has many sources, and each its own mistake."""
    by_source = json.loads(ledger("--log", log, "refused", "--source", "host-7", "--json").out)
    by_reason = json.loads(ledger("--log", log, "refused", "--reason", "INVALID", "--json").out)
    nothing = ledger("--log", log, "refused", "--source", "nobody")

    assert [row["offset"] for row in by_source] == [1]
    assert [row["offset"] for row in by_reason] == [2]
    assert (nothing.code, nothing.out) == (0, "nothing was refused\n")


def test_one_is_shown_with_its_bytes_made_safe(log: Path) -> None:
    """Strangers sent them: no escape sequence reaches the terminal."""
    first, second = (ledger("--log", log, "refused", pos) for pos in ("1", "2"))
    found = json.loads(ledger("--log", log, "refused", "2", "--json").out)

    assert TEXT.decode() in first.out
    assert "source: host-7" in first.out
    assert "fffe1b5b 33316d20 6e6f" in second.out
    assert "\x1b" not in first.out + second.out
    assert bytes.fromhex(found["hex"]) == RAW


def test_one_that_is_not_there_says_so(log: Path, tmp_path: Path) -> None:
    said = ledger("--log", log, "refused", "7")

    assert said.code == 2
    assert said.err == "ledger: nothing was refused at 7; `ledger refused` lists what was\n"
    assert ledger("--log", tmp_path / "none.db", "refused").code == 2
