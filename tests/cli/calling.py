"""Calling the command in this process, and as a real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from ledger.cli.app import app


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def ledger(*args: str | Path, env: dict[str, str | None] | None = None) -> Said:
    """Run the command in this process. A bug fails the test with its traceback."""
    clean: dict[str, str | None] = {"LEDGER_LOG": None, "LEDGER_ARCHIVE": None}
    result = CliRunner().invoke(
        app, [str(arg) for arg in args], prog_name="ledger", env=clean | (env or {})
    )
    said = Said(result.exit_code, result.stdout, result.stderr)
    assert "bug in the ledger" not in said.err, said.err
    return said


def process(*args: str | Path, cwd: Path | None = None, **more: str) -> Said:
    """Run the command in a process of its own; `more` is added to its environment."""
    import os

    done = subprocess.run(
        [sys.executable, "-m", "ledger.cli", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **more},
    )
    return Said(done.returncode, done.stdout, done.stderr)
