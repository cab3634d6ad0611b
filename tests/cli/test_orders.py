"""An order of a person is in the log at once, reaches other processes, and comes with receipts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import wire
from ledger.core.events import OrderGiven, RunStarted
from ledger.log.sqlite import SqliteLog
from tests.cli.calling import ledger
from tests.waiting import wait_for

AGENTS = """
import sys, ledger
led = ledger.connect(sys.argv[1], judge=sys.argv[2])
with led, led.run("wait", agent="lead", run=sys.argv[3]) as run:
    with run.spawn("worker", agent="w1") as one:
        with one.spawn("worker", agent="w2") as two:
            led.flush()
            print("ready", flush=True)
            while True:
                with two.tool_call("look", {}) as call:
                    call.result(sys.stdin.readline())
"""

RUN = "run-of-a-test-1"


def log_of(folder: Path, *runs: str) -> Path:
    """A log in which these runs have started, judged by nobody."""
    path = folder / "ledger.db"
    with SqliteLog(path) as log:
        log.append([(run, wire.encode(RunStarted(run=run, agent="lead"))) for run in runs])
    return path


@pytest.fixture
def agents(tmp_path: Path, patient: None) -> Iterator[subprocess.Popen[str]]:
    """A process with three agents, w2 below w1 below the lead, that calls when a line comes."""
    path = tmp_path / "ledger.db"
    started = subprocess.Popen(
        [sys.executable, "-c", AGENTS, path, "process", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LEDGER_JUDGE_IDLE_S": "1"},
    )
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    yield started
    started.kill()
    started.communicate()


def orders(path: Path) -> list[OrderGiven]:
    with SqliteLog(path) as log:
        found = [wire.decode(row.value) for row in log.control(0, 100)]
    return [event for event in found if isinstance(event, OrderGiven)]


@pytest.mark.live
def test_a_kill_stops_another_process_and_brings_its_receipt(
    agents: subprocess.Popen[str], tmp_path: Path
) -> None:
    """This is what the operator's hand does at three in the morning."""
    log = tmp_path / "ledger.db"
    said = ledger("--log", log, "kill", RUN[:8], "--reason", "it circles", "--wait", "20", "--json")
    told = json.loads(said.out)
    _, err = agents.communicate(input="\n" * 3, timeout=120)

    assert said.code == 0, said
    assert told["quiet"]
    assert len(told["receipts"]) == 1
    assert told["receipts"][0]["agents_stopped"] == 3
    assert agents.returncode
    assert "was killed: it circles" in err
    assert ledger("--log", log, "kill", RUN, "--wait", "0").code in (0, 1)


@pytest.mark.live
def test_a_subtree_dies_and_the_rest_lives(agents: subprocess.Popen[str], tmp_path: Path) -> None:
    log = tmp_path / "ledger.db"
    said = ledger("--log", log, "kill", RUN, "--agent", "w1", "--subtree", "--wait", "20")
    states = "select agent, outcome from agents order by agent"
    agents.communicate(input="\n" * 3, timeout=120)
    found = json.loads(ledger("--log", log, "sql", states, "--json").out)

    assert said.code == 0, said
    assert "2 agents stopped" in said.out
    assert "quiet after" in said.out
    assert {row["agent"]: row["outcome"] for row in found if row["agent"] != "lead"} == {
        "w1": "killed",
        "w2": "killed",
    }


@pytest.mark.live
def test_a_paused_agent_waits_until_resumed(agents: subprocess.Popen[str], tmp_path: Path) -> None:
    log = tmp_path / "ledger.db"
    assert ledger("--log", log, "pause", RUN, "--wait", "20").code == 0
    assert agents.stdin
    agents.stdin.write("\n\n")
    agents.stdin.flush()
    with SqliteLog(log) as opened:

        def calls() -> int:
            rows = opened.read(0, 10_000)
            return sum(b'"tool_call_started"' in row.value for row in rows)

        paused = calls()
        assert ledger("--log", log, "resume", RUN).code == 0

        assert wait_for(lambda: calls() > paused, 20, what="the agent to go on")


def test_an_order_needs_no_judge(tmp_path: Path) -> None:
    """The judge may be what went wrong."""
    log = log_of(tmp_path, RUN)
    said = ledger("--log", log, "kill", RUN, "--reason", "why not", "--wait", "0", "--json")
    told = json.loads(said.out)
    (given,) = orders(log)

    assert said.code == 1, "nobody can say that all have answered"
    assert (told["quiet"], told["receipts"]) == (False, [])
    assert (given.run, given.action, given.scope, given.reason) == (RUN, "kill", "run", "why not")
    assert "@" in given.by


def test_a_mistyped_run_is_not_killed_by_half(tmp_path: Path) -> None:
    """An order for nobody that says "done" is worse than an error."""
    log = log_of(tmp_path, "alpha-1", "alpha-2", "beta")
    for prefix in ("alpha", "gamma"):
        assert ledger("--log", log, "kill", prefix).code == 2
    assert orders(log) == []

    assert ledger("--log", log, "kill", "be", "--wait", "0").code == 1
    assert ledger("--log", log, "kill", "gamma", "--unseen", "--wait", "0").code == 1
    assert [order.run for order in orders(log)] == ["beta", "gamma"]


def test_a_run_of_a_trimmed_log_is_still_found(tmp_path: Path) -> None:
    """Its events are archived; its state is in a checkpoint."""
    log = log_of(tmp_path, RUN)
    assert ledger("--log", log, "archive", "now").code == 0
    from ledger.cli.judging import judge_all

    with SqliteLog(log) as opened:
        judge_all(opened)
        opened.trim(opened.end(), 1)
    said = ledger("--log", log, "pause", RUN[:9], "--wait", "0")

    assert f"pause of run {RUN}" in said.out


def test_an_order_for_a_run_that_is_over_says_so(tmp_path: Path) -> None:
    from ledger.cli.judging import judge_all

    log = log_of(tmp_path, RUN)
    with SqliteLog(log) as opened:
        judge_all(opened)
    first = ledger("--log", log, "kill", RUN, "--wait", "0")
    with SqliteLog(log) as opened:
        judge_all(opened)

    assert first.code == 1
    assert "killed" in ledger("--log", log, "show", RUN).out
