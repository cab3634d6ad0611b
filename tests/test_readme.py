"""The code that people copy from the README and the client's page runs as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.cli.reference import commands
from tests.cli.calling import ledger
from tests.house import ROOT

README = ROOT / "README.md"
CLIENT = ROOT / "ledger/docs/client.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.live
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("page", [README, CLIENT], ids=lambda page: page.name)
def test_the_code_runs_and_is_recorded(page: Path, tmp_path: Path) -> None:
    """All blocks of a page, one after the other, in an empty folder."""
    (tmp_path / "policy.toml").write_text("[run]\nagents_max = 10\n")
    (tmp_path / "code.py").write_text("\n".join(blocks(page, "python")))
    ran = subprocess.run(
        [sys.executable, "code.py"],
        cwd=tmp_path,
        env={**os.environ, "LEDGER_JUDGE_IDLE_S": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    found = ledger("--log", tmp_path / "ledger.db", "runs", "--json")

    assert ran.returncode == 0, ran.stderr
    assert '"agents": 2' in found.out
    assert '"denied": 0' in found.out


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.read_text().splitlines()) < 140
    assert len(blocks(README, "python")[0].splitlines()) <= 20


def test_every_command_of_the_readme_exists() -> None:
    known = dict(commands.walk())
    for block in blocks(README, "sh"):
        for text in re.findall(r"^ledger [^#\n]*", block, re.MULTILINE):
            for part in text.split(";"):
                words = shlex.split(part)[1:]
                name = words[0] if words[0] in known else " ".join(words[:2])
                known[name].make_context(name, words[len(name.split()) :])


def test_the_readme_names_the_exit_codes() -> None:
    codes = re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE)

    assert codes == ["0", "1", "2", "130"]
