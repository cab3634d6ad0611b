"""Building the wheel of this checkout, away from it."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INGREDIENTS = ("pyproject.toml", "README.md", "LICENSE", "ledger", "processors", "queries")


def build_wheel(folder: Path) -> Path:
    """Build the wheel in `folder` and return its path. Fails with the output of the build.

    From a copy, because setuptools leaves build/ behind and puts what it finds there, however
    old, into the next wheel.
    """
    source = folder / "source"
    source.mkdir()
    for name in INGREDIENTS:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; fail with all of it when the command fails."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
