"""A stranger installs the wheel in an empty environment and runs the demo."""

import re
import sys
from pathlib import Path

import pytest

import ledger
from tests.wheel import ROOT, run

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("wheel")]


def constraints() -> str:
    """The locked versions without their hashes, which pip would also demand of our own wheel.

    The same versions as `make setup` installed, so pip finds every download in its cache.
    """
    lock = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^[\w.-]+==[^\\\n]+", lock, flags=re.MULTILINE)
    return "\n".join(pinned)


@pytest.fixture(scope="session")
def stranger(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, its dependencies, and nothing else."""
    home = tmp_path_factory.mktemp("stranger")
    (home / "constraints.txt").write_text(constraints())
    run(sys.executable, "-m", "venv", home / "venv")
    python = home / "venv/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "-c", home / "constraints.txt", wheel)
    return python.parent


def test_the_installed_command_knows_its_version(stranger: Path, tmp_path: Path) -> None:
    said = run(stranger / "ledger", "--version", cwd=tmp_path)

    assert ledger.__version__ in said


def test_the_demo_runs_from_the_wheel(stranger: Path, tmp_path: Path) -> None:
    """Data left out of the wheel is missed only here; elsewhere the checkout helps out."""
    where = run(stranger / "python", "-c", "import ledger; print(ledger.__file__)", cwd=tmp_path)
    said = run(stranger / "ledger", "demo", cwd=tmp_path)

    assert Path(where.strip()).is_relative_to(stranger.parent)
    assert "claims checked, all true" in said
    assert list(tmp_path.iterdir()) == []
