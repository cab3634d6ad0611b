"""A stranger imports traces and asks about them: every command that reads answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ledger.log.sqlite import SqliteLog
from tests.cli.calling import Said, ledger

TRACE = [
    {"role": "system", "content": "You book flights."},
    {"role": "user", "content": "Book the first flight."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "name": "find", "content": "none"},
    {"role": "assistant", "content": "There is none. \x1b[2J"},
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with transcripts, imported."""
    folder = tmp_path_factory.mktemp("imported")
    for number in range(3):
        trial = [*TRACE[:2], *TRACE[2:4] * (5 * number + 1), TRACE[4]]
        for index, message in enumerate(trial):
            trial[index] = json.loads(json.dumps(message).replace("c1", f"c{index - index % 2}"))
        body = {"task_id": number, "trial": 0, "reward": 1.0, "traj": trial}
        (folder / "traces").mkdir(exist_ok=True)
        (folder / "traces" / f"{number}.json").write_text(json.dumps([body]))
    said = ledger("--log", folder / "ledger.db", "import", "openai", folder / "traces", "--json")
    assert said.code == 0, said
    assert json.loads(said.out)["runs"] == 3

    return folder


def ask(home: Path, *args: str) -> Said:
    return ledger("--log", home / "ledger.db", *args)


def test_importing_twice_adds_nothing(home: Path) -> None:
    with SqliteLog(home / "ledger.db") as log:
        before = log.end()
    said = ask(home, "import", "openai", str(home / "traces"), "--json")
    with SqliteLog(home / "ledger.db") as log:
        after = log.end()

    assert (said.code, after) == (0, before)
    assert json.loads(said.out) | {"skipped": 0} == {
        "runs": 0, "agents": 0, "events": 0, "refused": [], "refusals": 0, "skipped": 0,
    }  # fmt: skip
    assert json.loads(said.out)["skipped"]["run recorded before"] == 3


def test_a_run_known_only_to_the_archive_is_not_imported_again(home: Path, tmp_path: Path) -> None:
    """The log is trimmed behind the archive; the run must not come back as a new one."""
    shutil.copytree(home, tmp_path / "copy")
    with SqliteLog(tmp_path / "copy/ledger.db") as log:
        log.trim(log.end(), log.verdicts_end() + 1)
        assert len(log.read(0, 10)) <= 1
    said = ask(tmp_path / "copy", "import", "openai", str(home / "traces"), "--json")

    assert json.loads(said.out)["runs"] == 0


def test_half_an_import_is_finished(tmp_path: Path, home: Path) -> None:
    """A huge run takes more than one transaction; a kill between them must not leave it half."""
    with SqliteLog(home / "ledger.db") as log:
        rows = log.read(0, 1000)
    run = next(row.run for row in rows if row.run != "policy")
    with SqliteLog(tmp_path / "ledger.db") as log:
        log.append([(row.run, row.value) for row in rows if row.run in (run, "policy")][:3])
    said = ask(tmp_path, "import", "openai", str(home / "traces"), "--json")
    counts = "select run, agents, tool_calls, model_calls from runs order by run"

    assert json.loads(said.out)["runs"] == 3
    assert ask(tmp_path, "sql", counts, "--json").out == ask(home, "sql", counts, "--json").out


def test_a_file_that_is_no_trace_is_refused_and_the_others_go_on(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "traces", tmp_path / "traces")
    (tmp_path / "traces/bad.json").write_text("{")
    (tmp_path / "traces/readme.md").write_text("hello")
    said = ask(tmp_path, "import", "openai", str(tmp_path / "traces"), "--json")
    told = json.loads(said.out)

    assert said.code == 1
    assert told["runs"] == 3
    assert [Path(one["file"]).name for one in told["refused"]] == ["bad.json"]
    assert any("json" in reason for reason in told["skipped"])


def test_the_run_pins_the_policy_of_the_command_line(home: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[findings.repeated_step]\nwarn_repeats = 1000\ndeny_repeats = 1000\n")
    digest = ledger("policy", "digest", policy).out.strip()
    said = ledger(
        "--log", tmp_path / "ledger.db", "--policy", policy, "import", "openai", home / "traces"
    )
    pinned = ask(tmp_path, "sql", "select distinct policy from runs", "--json")

    assert said.code == 0
    assert json.loads(pinned.out) == [{"policy": digest}]
    assert json.loads(ask(tmp_path, "findings", "--json").out) == []


def test_sql_answers_as_the_manual_says(home: Path) -> None:
    said = ask(home, "sql", "select count(*) as n from runs", "--json")

    assert said.out == '[{"n": 3}]\n'


def test_sql_changes_nothing_and_says_what_is_wrong(home: Path) -> None:
    for question in ("drop view runs", "select 1; select 2", "select nope from runs", ""):
        said = ask(home, "sql", question)

        assert said.code == 2
        assert said.err.startswith("ledger: ")


def test_runs_are_listed_latest_first_in_every_form(home: Path) -> None:
    listed = json.loads(ask(home, "runs", "--json").out)
    table = ask(home, "runs").out
    as_csv = ask(home, "runs", "--csv").out

    assert [run["started_ms"] for run in listed] == sorted(
        (run["started_ms"] for run in listed), reverse=True
    )
    assert all(run["run"] in table and run["run"] in as_csv for run in listed)
    assert len(json.loads(ask(home, "runs", "-n", "1", "--json").out)) == 1


def test_show_draws_what_went_wrong(home: Path) -> None:
    """The second trial goes round in a circle; that must be the first thing an operator reads."""
    found = json.loads(ask(home, "findings", "--json").out)
    run = found[0]["run"]
    said = ask(home, "show", run)
    told = json.loads(ask(home, "show", run, "--json").out)

    assert found[0]["name"] == "repeated_step"
    assert "repeated_step" in said.out.split("\nagent ")[0]
    assert [finding["name"] for finding in told["findings"]] == ["repeated_step"]
    assert told["agents"][0]["tool_calls"] > 5
    assert "\x1b" not in said.out


def test_a_run_is_found_by_how_its_id_begins(home: Path) -> None:
    run = json.loads(ask(home, "runs", "--json").out)[0]["run"]

    assert ask(home, "show", run[:-1]).code == 0
    assert ask(home, "show", "last").code == 0
    assert "may mean" in ask(home, "show", "openai").err
    assert ask(home, "show", "openai").code == 2
    assert "no run's id begins" in ask(home, "show", "nope").err


def test_check_is_for_scripts(home: Path) -> None:
    assert ask(home, "findings", "--check").code == 1
    assert ask(home, "findings", "--check", "--severity", "fatal").code == 0


def test_every_query_answers(home: Path) -> None:
    names = [row["query"] for row in json.loads(ask(home, "query", "--json").out)]
    assert len(names) >= 8
    for name in names:
        said = ask(home, "query", name, "--json")

        assert said.code == 0, said
        assert isinstance(json.loads(said.out), list)


def test_a_query_takes_parameters_and_refuses_wrong_ones(home: Path) -> None:
    name = "fan_out_by_run"

    assert len(json.loads(ask(home, "query", name, "-p", "limit=1", "--json").out)) <= 1
    assert ask(home, "query", name, "-p", "nope=1").code == 2
    assert ask(home, "query", name, "-p", "limit=x").code == 2
    assert ask(home, "query", name, "-p", "limit").code == 2
    assert ask(home, "query", name, "--sql").out.startswith("-- fan_out_by_run: ")


def test_replay_is_equal_and_says_when_it_is_not(home: Path, tmp_path: Path) -> None:
    """A verdict that was tampered with, or a fold that changed, is exit 1 with the first."""
    assert ask(home, "replay", "--all").code == 0
    assert ask(home, "replay", "last").code == 0
    assert ask(home, "replay").code == 2
    with SqliteLog(home / "ledger.db") as log:
        rows, said = log.read(0, 1000), log.verdicts(0, 1000)
    with SqliteLog(tmp_path / "ledger.db") as log:
        log.append([(row.run, row.value) for row in rows])
        epoch = log.take_judgeship("a-test", 1, 0)
        assert epoch
        bent = [(row.offset, row.run, row.value.replace(b"warning", b"info")) for row in said]
        assert log.commit_judged(epoch, log.end(), verdicts=bent)
    answer = ask(tmp_path, "replay", "--all", "--json")
    told = json.loads(answer.out)

    assert said
    assert answer.code == 1
    assert told["differences"] == sum(b"warning" in row.value for row in said) > 0
    assert told["first"]["recorded"]["findings"][0]["severity"] == "info"
    assert "then" in ask(tmp_path, "replay", "--all").err


def test_the_archive_is_whole_until_it_is_not(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "copy")
    copy = tmp_path / "copy"
    status = json.loads(ask(copy, "archive", "status", "--json").out)

    assert [row["log"] for row in status] == ["events", "verdicts", "refused"]
    assert status[0]["not_archived"] == 0
    assert ask(copy, "archive", "verify").code == 0
    assert ask(copy, "archive", "compact", "--all", "--vacuum").code == 0
    assert json.loads(ask(copy, "archive", "verify", "--json").out)["ok"]
    for file in (copy / "ledger.db-archive").rglob("*.parquet"):
        file.unlink()
    assert ask(copy, "archive", "verify").code == 1


def test_what_only_the_log_has_is_seen_and_archived_on_demand(tmp_path: Path, home: Path) -> None:
    with SqliteLog(home / "ledger.db") as log:
        rows = log.read(0, 1000)
    with SqliteLog(tmp_path / "ledger.db") as log:
        log.append([(row.run, row.value) for row in rows])

    assert len(json.loads(ask(tmp_path, "runs", "--json").out)) == 3
    assert f"{len(rows)} records archived" in ask(tmp_path, "archive", "now").out
    (tmp_path / "ledger.db").unlink()
    assert len(json.loads(ask(tmp_path, "runs", "--json").out)) == 3


def test_tail_shows_the_last_events_and_ends_when_told(home: Path) -> None:
    said = ask(home, "tail", "-n", "4", "--for", "0")
    lines = ask(home, "tail", "-n", "4", "--for", "0", "--json").out.splitlines()

    assert len(said.out.splitlines()) == 4
    assert all("type" in json.loads(line) for line in lines)
    assert ask(home, "tail", "nope", "--for", "0").code == 2
