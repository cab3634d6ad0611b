"""Every command takes a log on Kafka: what it says, how it exits, and what it says without one."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ledger
from ledger.log.kafka_place import Place
from tests.cli.calling import Said, process
from tests.cli.test_orders import AGENTS
from tests.cli.test_runs import TRACE
from tests.clients import limits
from tests.live.kafka.broker import Broker
from tests.live.kafka.calling import command
from tests.live.kafka.chaos import url_of
from tests.live.kafka.clients import new_place
from tests.live.kafka.workers import UP_S
from tests.waiting import PATIENCE_MS, wait_for

WAIT = "300"
"""Seconds that nobody waits who hears an answer."""
READING = [
    ("runs",), ("show", "last"), ("findings",), ("sql", "from runs"), ("query", "loops"),
    ("replay", "--all"), ("tail", "--for", "0"), ("archive", "now"), ("refused",),
    ("kill", "a-run"), ("pause", "a-run"), ("resume", "a-run"),
]  # fmt: skip


class Home:
    """A log that `ledger up` judges and archives, and the folder of its archive."""

    def __init__(self, place: Place, folder: Path, up: "subprocess.Popen[bytes]") -> None:
        self.place, self.folder, self.up = place, folder, up
        self.archive = folder / "archive"

    def ask(self, *words: str) -> Said:
        """A command on this log and archive."""
        return command(self.place, "--archive", str(self.archive), *words)

    def rows(self, *words: str) -> Any:
        """What a command says as JSON; fails where it does not exit with 0."""
        said = self.ask(*words, "--json")
        assert said.code == 0, said
        return json.loads(said.out)

    def play(self, run: str) -> None:
        """A run of two agents, one of which calls a tool."""
        with (
            ledger.connect(url_of(self.place), policy=limits()) as led,
            led.run("write the report", run=run, task_key="report") as lead,
            lead.spawn("researcher", task="find sources") as agent,
            agent.tool_call("search", {"q": "vectors"}) as call,
        ):
            call.result("ten links")


@pytest.fixture(scope="module")
def home(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """What `ledger up` keeps, on four partitions."""
    folder = tmp_path_factory.mktemp("fleet")
    place = new_place(broker.bootstrap)
    said = folder / "said"
    with said.open("wb") as out:
        up = subprocess.Popen(
            [sys.executable, "-m", "ledger.cli", "--log", url_of(place), "up"],
            stdout=out, stderr=out, cwd=folder, start_new_session=True,
            env={**os.environ, "LEDGER_ARCHIVE": str(folder / "archive")},
        )  # fmt: skip
    try:
        wait_for(lambda: b"judging 0-3 of 4" in said.read_bytes(), UP_S, what="ledger up")
        yield Home(place, folder, up)
        up.send_signal(signal.SIGTERM)
        assert up.wait(UP_S) == 0, said.read_text()
    finally:
        if up.poll() is None:
            os.killpg(up.pid, signal.SIGKILL)
            up.wait()


def policy(folder: Path) -> Path:
    """The default policy, for clients on a slow machine."""
    path = folder / "patient.toml"
    path.write_text(f"[unreachable]\nwait_ms = {PATIENCE_MS}\n")
    return path


def test_what_was_recorded_is_there_to_be_asked_about(home: Home) -> None:
    """At once, archived or not, by every command that reads."""
    home.play("asked-1")
    (run,) = [one for one in home.rows("runs") if one["run"] == "asked-1"]
    shown = home.ask("show", "asked")
    calls = home.rows("sql", "select tool from tool_calls where run = 'asked-1'")
    asked = home.rows("query", "cost_by_task")
    found = home.rows("findings", "asked-1")

    assert (run["state"], run["agents"], run["tool_calls"]) == ("succeeded", 2, 1)
    assert shown.code == 0, shown
    assert "└─ researcher-" in shown.out
    assert calls == [{"tool": "search"}]
    assert [one for one in asked if one["task_key"] == "report"]
    assert found == []


def test_each_record_is_asked_about_once(home: Home) -> None:
    """Half of it archived, the rest in the log: the border moves, and nothing is there twice."""
    count = 'select count(*) as n, count(distinct ("partition", "offset")) as one from events'
    for number in range(3):
        home.play(f"once-{number}")
        (both,) = home.rows("sql", count)
        none = ("--archive", str(home.folder / "none"))
        alone = command(home.place, *none, "sql", count, "--json")

        assert both["n"] == both["one"] > 0
        assert json.loads(alone.out)[0]["n"] >= both["n"]
        assert home.ask("archive", "now").code == 0
    status = home.rows("archive", "status")

    assert {(one["log"], one["partition"]) for one in status} > {("events", 3), ("verdicts", 3)}
    assert all(one["not_archived"] >= 0 for one in status)
    assert home.ask("archive", "verify").out.strip().endswith("whole")
    assert home.ask("archive", "compact", "--all").code == 0


def test_replay_gives_equal_verdicts(home: Home) -> None:
    """All partitions, and one run."""
    home.play("again-1")
    everything = home.rows("replay", "--all")
    one = home.rows("replay", "again-1")

    assert everything["equal"]
    assert everything["compared"] > 0
    assert (one["equal"], one["runs"]) == (True, 1)


def test_tail_follows_every_partition(home: Home) -> None:
    """Events and verdicts, of all runs or of one."""
    for number in range(8):
        home.play(f"followed-{number}")
    said = home.ask("tail", "-n", "500", "--for", "0", "--json")
    events = [json.loads(line) for line in said.out.splitlines()]
    runs = {event["run"] for event in events if event["type"] == "run_ended"}
    one = home.ask("tail", "followed-3", "-n", "500", "--for", "0")

    assert said.code == 0
    assert {f"followed-{number}" for number in range(8)} <= runs
    assert "run_ended" in one.out
    assert "followed-4" not in one.out


def test_a_kill_waits_for_the_receipts_of_other_processes(home: Home) -> None:
    """The operator's hand, and then what tail, show and findings say of it."""
    run = f"killed-{uuid.uuid4().hex[:8]}"
    with subprocess.Popen(
        [sys.executable, "-c", AGENTS, url_of(home.place), "none", run],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "LEDGER_POLICY": str(policy(home.folder))},
    ) as agents:  # fmt: skip
        try:
            assert agents.stdout
            assert agents.stdout.readline() == "ready\n"
            paused = home.rows("pause", run[:12], "--agent", "w2", "--wait", WAIT)
            resumed = home.ask("resume", run)
            killed = home.rows("kill", run[:12], "--reason", "it circles", "--wait", WAIT)
            _, err = agents.communicate(input="\n" * 3, timeout=UP_S)
        finally:
            agents.kill()
    lines = home.ask("tail", run, "-n", "100", "--for", "0").out

    assert (paused["quiet"], len(paused["receipts"])) == (True, 1)
    assert (resumed.code, killed["quiet"]) == (0, True)
    assert [one["agents_stopped"] for one in killed["receipts"]] == [3]
    assert "was killed: it circles" in err
    assert "order_receipted" in lines
    assert home.ask("show", run).out.splitlines()[0].endswith("killed")


def test_a_mistyped_run_is_not_killed(home: Home) -> None:
    home.play("alpha-1")
    home.play("alpha-2")

    assert "may mean alpha-1, alpha-2" in home.ask("kill", "alpha").err
    assert home.ask("kill", "gamma").code == 2
    assert home.ask("kill", "gamma-9", "--unseen", "--wait", "0").code in (0, 1)
    assert home.ask("pause", "alpha-2", "--wait", "0").code in (0, 1)


def test_importing_twice_adds_nothing(home: Home) -> None:
    """Under the run's key, graded observed; again, and it is all there already."""
    folder = home.folder / "traces"
    folder.mkdir()
    for number in range(2):
        body = {"task_id": number, "trial": 0, "reward": 1.0, "traj": TRACE}
        (folder / f"{number}.json").write_text(json.dumps([body]))
    first = home.rows("import", "openai", str(folder))
    again = home.rows("import", "openai", str(folder))
    grades = home.rows("sql", "select distinct grade from runs where starts_with(run, 'openai')")
    double = "having count(*) > 1 and any_value(seq) > 0 and any_value(grade) = 'observed'"
    twice = home.rows("sql", f"select run from events group by run, source, seq {double}")

    assert (first["runs"], again["runs"], again["events"]) == (2, 0, 0)
    assert grades == [{"grade": "observed"}]
    assert twice == []


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_without_a_broker_it_says_so(words: tuple[str, ...], tmp_path: Path) -> None:
    """Wrong use, within seconds: no traceback, and no lines of the Kafka client."""
    nobody = Place("127.0.0.1:1", "nobody")
    said = command(nobody, "--archive", str(tmp_path / "archive"), *words)

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("ledger: ")
    assert "127.0.0.1:1" in said.err
    assert len(said.err.splitlines()) == 1


def test_without_topics_it_names_the_remedy(broker: Broker, tmp_path: Path) -> None:
    nowhere = Place(broker.bootstrap, f"test-{uuid.uuid4().hex[:12]}", partitions=4, replication=1)
    other = replace(nowhere, partitions=8)
    for words in READING[:2]:
        said = command(nowhere, "--archive", str(tmp_path / "archive"), *words)

        assert said.code == 2
        assert "-events is missing" in said.err
        assert "`ledger topics apply`" in said.err
    assert command(other, "import", "openai", str(tmp_path)).code == 2


@pytest.mark.parametrize("url", ["kafka://", "kafka://host:1/x?colour=red"])
def test_a_wrong_url_says_what_is_wrong(url: str, tmp_path: Path) -> None:
    said = process("--log", url, "runs", cwd=tmp_path)

    assert said.code == 2
    assert "Traceback" not in said.err
    assert "write kafka://host:9092/prefix" in said.err
