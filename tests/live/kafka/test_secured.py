"""Brokers that ask who comes: every kind of URL gets in, and no secret gets out."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import ledger
from tests.cli.calling import Said, process
from tests.cli.calling import ledger as command
from tests.live.kafka.doors import KINDS, Doors
from tests.live.kafka.test_commands import policy
from tests.live.kafka.workers import UP_S, Worker, free_port, metric, working
from tests.waiting import wait_for

WAIT = "300"
"""Seconds that nobody waits who hears an answer."""
AGENT = """
import sys, ledger
with ledger.connect(sys.argv[1]) as led, led.run("r", run=sys.argv[2]) as run:
    with run.spawn("a") as agent, agent.tool_call("search") as call:
        call.result("ten links")
    print("ready", flush=True)
    sys.stdin.readline()
    with run.tool_call("search"):
        pass
"""


def shown(worker: Worker) -> str:
    """What everybody on the machine sees of a process."""
    return Path(f"/proc/{worker.process.pid}/cmdline").read_text()


def test_a_fleet_lives_behind_tls_and_users(doors: Doors, tmp_path: Path) -> None:
    """All that a log on Kafka has to do with brokers, each part by a user over TLS.

    The judge has its secret from the URL, the archivist from variables.
    """
    url, bare, variables = doors.opened("SCRAM-SHA-512")
    run, port, archive = f"r-{uuid.uuid4().hex[:8]}", free_port(), str(tmp_path / "archive")
    asked: list[Said] = []

    def ask(*words: str) -> Said:
        asked.append(process("--log", url, "--archive", archive, *words, cwd=tmp_path))
        return asked[-1]

    assert ask("topics", "apply").code == 0
    with (
        working(url, tmp_path / "1", "judge") as judge,
        working(
            bare, tmp_path / "2", "archivist", "--archive", archive, "--web-port", str(port),
            **variables,
        ) as archivist,
        subprocess.Popen(
            [sys.executable, "-c", AGENT, url, run], cwd=tmp_path, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "LEDGER_POLICY": str(policy(tmp_path))},
        ) as agent,
    ):  # fmt: skip
        try:
            judge.said("judging 0-3 of 4 partitions")
            archivist.said("archiving ")
            assert agent.stdout
            assert agent.stdout.readline() == "ready\n", agent.communicate()
            killed = ask("kill", run, "--reason", "it circles", "--wait", WAIT, "--json")
            _, err = agent.communicate("\n", timeout=UP_S)
        finally:
            agent.kill()
        with ledger.connect(url) as led:
            led.log.refuse("somebody", "no event", b"junk")
        refused = ask("refused", "--json")
        wait_for(lambda: metric(port, "ledger_archivist_rows_total") >= 10, UP_S, what="rows")
        wait_for(lambda: not metric(port, "ledger_archivist_lag"), UP_S, what="the archive")
        rows = ask("sql", f"select count(*) as agents from agents where run = '{run}'", "--json")
        lines = shown(judge) + shown(archivist)

        assert (judge.end(), archivist.end()) == (0, 0)
    everything = lines + judge.out + judge.err + archivist.out + archivist.err + err
    everything += "".join(one.out + one.err for one in asked)

    assert [one.code for one in asked] == [0, 0, 0, 0], asked
    assert json.loads(killed.out)["quiet"]
    assert "was killed: it circles" in err
    assert [one["reason"] for one in json.loads(refused.out)] == ["no event"]
    assert json.loads(rows.out) == [{"agents": 2}]
    assert "ledger.processors.worker" in lines
    assert "hush" in doors.secret
    assert "hush" not in everything


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_url_gets_in(
    doors: Doors, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What opens the door stands in the URL, or in variables."""
    url, bare, variables = doors.opened(kind)
    applied = command("--log", url, "topics", "apply")
    recorded(url)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    checked = command("--log", bare, "topics", "check")
    recorded(bare)

    assert (applied.code, checked.code) == (0, 0), (applied, checked)


def recorded(url: str) -> None:
    """Fails where what is recorded does not arrive."""
    with ledger.connect(url) as led, led.run("r") as run:
        led.flush(60)

        assert led.log.read_run(run.id, 10)
