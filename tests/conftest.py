"""What every test may ask for: Hypothesis profiles, a log and where its archive goes, the wheel."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ledger.log.sqlite import SqliteLog
from tests.waiting import PATIENCE_MS
from tests.wheel import build_wheel

# No deadlines: a shared machine is slow for reasons that are not the test's. Not derandomized:
# each run looks somewhere new, and the printed blob repeats what it found.
settings.register_profile("dev", deadline=None, max_examples=50, print_blob=True)
settings.register_profile("ci", deadline=None, max_examples=200, print_blob=True, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture
def patient(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that name no policy, in this process and in those it starts, wait for a judge."""
    policy = tmp_path_factory.mktemp("patient") / "policy.toml"
    policy.write_text(f"[unreachable]\nwait_ms = {PATIENCE_MS}\n")
    monkeypatch.setenv("LEDGER_POLICY", str(policy))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """A real log in a file."""
    with SqliteLog(tmp_path / "ledger.db") as log:
        yield log


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """Where the archive of `log` goes."""
    return tmp_path / "ledger.db-archive"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a wheel of this checkout. Tests using it share one xdist group, "wheel"."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))
