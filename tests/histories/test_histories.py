"""The recorded histories replay to the letter, for ever."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ledger import wire
from ledger.core.events import EVENT_TYPES
from ledger.core.lifecycle import FOLD_VERSION
from ledger.replay import Row, replay
from tests.histories.recipes import RECIPES

HERE = Path(__file__).parent
HISTORIES = sorted(HERE.glob("*.jsonl"))


def load(path: Path) -> tuple[list[Row], list[tuple[int, bytes]]]:
    """(the rows, the verdicts) of a history, as the bytes that they were."""
    rows, said = [], []
    for line in path.read_bytes().splitlines():
        head, _, verdict = line.rpartition(b',"verdict":')
        fields, _, event = head.partition(b',"event":')
        place = json.loads(fields + b"}")
        rows.append((place["offset"], place["append_ms"], event))
        if verdict != b"null}":
            said.append((place["offset"], verdict[:-1]))
    return rows, said


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_history_replays_to_the_letter(path: Path) -> None:
    """What the ledger once said of a run it says for ever, or it says that its rules changed."""
    rows, said = load(path)
    version = int(path.stem.rpartition(".")[2])
    report = replay(rows, said, judged_until=rows[-1][0] + 1)

    assert report.equal, str(report)
    if version == FOLD_VERSION:
        assert report.compared == len(said)
    else:
        assert report.not_comparable == {version: len(said)}
    assert report.unreadable == 0


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_what_was_written_then_is_written_so_now(path: Path) -> None:
    """An event keeps its bytes: fingerprints and digests of the archive are made of them."""
    for _, _, value in load(path)[0]:
        assert wire.encode(wire.decode(value)) == value


def test_no_history_was_edited() -> None:
    """A history that is edited to pass proves nothing any more."""
    sums = dict(line.split("  ")[::-1] for line in (HERE / "SHA256SUMS").read_text().splitlines())

    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in HISTORIES} == sums


def test_every_recipe_has_a_history_of_this_version() -> None:
    """A new version brings its own: `python -m tests.histories`."""
    assert {f"{name}.{FOLD_VERSION}" for name in RECIPES} <= {path.stem for path in HISTORIES}


def test_every_event_stands_in_a_history() -> None:
    """Whoever adds an event adds it to a history, so that its bytes are kept to."""
    seen = {type(wire.decode(value)) for path in HISTORIES for _, _, value in load(path)[0]}

    assert seen == set(EVENT_TYPES)
