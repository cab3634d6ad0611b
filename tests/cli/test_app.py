"""However the command is called, it ends with its code and a sentence, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ledger as package
from ledger.cli.app import PANELS, hoisted
from ledger.cli.reference import commands
from tests.cli.calling import ledger, process
from tests.waiting import wait_for

COMMANDS = """up demo import runs show findings refused tail kill pause resume sql query replay
simulate policy schema archive topics worker docs""".split()


def test_every_command_is_there() -> None:
    said = ledger("--help")

    assert said.code == 0
    assert {line.split()[0] for line, _ in commands.walk()} == set(COMMANDS)
    assert not [name for name in COMMANDS if f"\n  {name} " not in said.out]
    assert sorted(" ".join(PANELS.values()).split()) == sorted(COMMANDS)


def test_help_says_the_exit_codes() -> None:
    assert "Exit codes" in ledger("--help").out


def test_the_version_is_that_of_the_package() -> None:
    assert ledger("--version").out == f"ledger {package.__version__}\n"


def test_no_command_at_all_is_wrong_use() -> None:
    assert ledger().code == 2


@pytest.mark.parametrize(
    "args",
    [
        ["nope"],
        ["runs", "--nope"],
        ["sql"],
        ["runs", "--json", "--csv"],
        ["findings", "--severity", "bad"],
        ["show", "x", "--log", "none.db"],
        ["runs", "--log", "none.db"],
        ["kill", "x", "--log", "none.db"],
        ["kill", "x", "--subtree"],
        ["kill", "x", "--wait", "-1"],
        ["tail", "--log", "none.db"],
        ["replay", "x", "--log", "none.db"],
        ["archive", "verify", "--archive", "none"],
        ["import", "langfuse", "none"],
        ["import", "nope", "/"],
        ["query", "nope"],
        ["simulate", "--scenario", "nope"],
        ["simulate", "--policy", "none.toml"],
        ["policy", "digest", "none.toml"],
        ["docs", "nope"],
        ["schema", "nope"],
        ["demo", "--keep", "/"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_code_2_and_a_sentence(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts tell a check that failed (1) from a command that was mistyped (2)."""
    monkeypatch.chdir(tmp_path)
    said = ledger(*args)

    assert said.code == 2, said
    assert said.err.strip()
    assert "Traceback" not in said.err
    assert not list(tmp_path.glob("none.db*")), "asking made a log"


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100, b"SQLite format 3\0"])
def test_a_file_that_is_no_log_is_left_alone(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(content)
    said = ledger("--log", file, "sql", "select 1")

    assert said.code in (0, 2)
    assert "Traceback" not in said.err
    if content:
        assert file.read_bytes() == content


def test_global_options_count_wherever_they_stand() -> None:
    words = ["runs", "--log", "a", "-n", "5", "--policy=b", "--", "--log", "c"]

    assert hoisted(words) == ["--log", "a", "--policy=b", "runs", "-n", "5", "--", "--log", "c"]


def test_a_variable_names_the_log(tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    said = ledger("runs", env={"LEDGER_LOG": str(there)})

    assert str(there) in said.err


def test_help_loads_nothing_heavy() -> None:
    """Completion and --help are typed a hundred times a day."""
    heavy = "duckdb pyarrow deltalake apsw ledger.core.fold rich".split()
    program = (
        "import sys\nfrom ledger.cli import app\n"
        "try: app.app(['--help'])\nexcept SystemExit: pass\n"
        f"print('heavy', [m for m in {heavy} if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert said.stdout.splitlines()[-1] == "heavy []"


def test_a_bug_is_one_line_that_asks_for_a_report(tmp_path: Path) -> None:
    """A traceback tells a stranger nothing; LEDGER_DEBUG=1 has it."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text("import ledger.wire\nledger.wire.event_schema = lambda: 1 / 0\n")
    quiet = process("schema", PYTHONPATH=str(tmp_path))
    loud = process("schema", PYTHONPATH=str(tmp_path), LEDGER_DEBUG="1")

    assert quiet.code == 1
    assert len(quiet.err.splitlines()) == 1
    assert "ZeroDivisionError" in quiet.err
    assert "report" in quiet.err
    assert "Traceback" in loud.err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`ledger schema | head -1` must not end in a traceback."""
    shown = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m ledger.cli schema | head -1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert shown.stdout == "{\n"
    assert shown.stderr == ""
    assert shown.returncode == 0


@pytest.mark.live
def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    from ledger.log.sqlite import SqliteLog

    log = tmp_path / "ledger.db"
    SqliteLog(log).close()
    tail = subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", "--log", log, "tail"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: any(Path(f"{log}-bells").glob("judge.*")), 20, what="tail to listen")
    tail.send_signal(signal.SIGINT)
    out, err = tail.communicate(timeout=120)

    assert (tail.returncode, out, err) == (130, b"", b"")


def test_completion_knows_the_commands() -> None:
    said = process(
        _LEDGER_COMPLETE="complete_bash", COMP_WORDS="ledger s", COMP_CWORD="1", LANG="C.UTF-8"
    )

    assert {"show", "sql", "simulate", "schema"} <= set(said.out.split())
    assert os.environ.get("_LEDGER_COMPLETE") is None
