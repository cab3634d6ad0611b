"""The demo shows what really happened, and fails when it did not; nothing is left behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.cli.demo_checks import Checks, Facts
from ledger.demo.stage import Seen
from ledger.simulate import simulate
from tests.cli.calling import process

pytestmark = pytest.mark.xdist_group("demo")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], Path]:
    """What one demo said, and the folder it was told to keep."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    said = process("demo", "--json", "--keep", folder, cwd=folder.parent)
    assert said.code == 0, said
    return json.loads(said.out), folder


@pytest.mark.live
def test_every_claim_of_the_demo_is_true(kept: tuple[dict[str, object], Path]) -> None:
    told, _ = kept
    claims = told["checks"]
    assert isinstance(claims, list)

    assert len(claims) >= 12
    assert all(claim["true"] for claim in claims)
    assert told["scripted"]


@pytest.mark.live
def test_what_was_kept_can_be_looked_at(kept: tuple[dict[str, object], Path]) -> None:
    """An operator's next step is the last line of the demo."""
    _, folder = kept
    log = folder / "ledger.db"
    shown = process("--log", log, "show", "last")
    replayed = process("--log", log, "replay", "--all")
    stopped = process("--log", log, "query", "orders_and_receipts", "--json")

    assert "killed" in shown.out.splitlines()[0]
    assert "runaway_fan_out" in shown.out
    assert "├─ " in shown.out
    assert replayed.code == 0, replayed
    assert json.loads(stopped.out)


@pytest.mark.live
def test_the_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    said = process("demo", cwd=tmp_path, TMPDIR=str(tmp_path))

    assert said.code == 0, said
    assert list(tmp_path.iterdir()) == []
    assert "scripted" in said.out.lower()
    assert "\x1b" not in said.out


def test_the_demo_fails_when_something_did_not_happen() -> None:
    """A demo that always succeeds shows nothing."""
    facts = Facts(simulate("fan_out_242", 1), Seen())
    failed = {check.claim for check in Checks(facts).failed}

    assert "left alone, 2 calls become 242 agents" not in failed
    assert {"a rule orders the kill", "the replay gives equal verdicts"} <= failed
    assert "the archive is whole" not in {
        check.claim for check in Checks(replace(facts, verified=True)).failed
    }
