"""`ledger worker` on what is no log on Kafka: wrong use, said before anything is started."""

from pathlib import Path

import pytest

from tests.cli.calling import ledger, process


def test_a_file_needs_no_worker(tmp_path: Path) -> None:
    """`ledger up` is for files."""
    said = ledger("--log", tmp_path / "ledger.db", "worker")

    assert said.code == 2
    assert "is no log on Kafka" in said.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("clerk",), "clerk"),
        (("judge", "--web-port", "70000"), "--web-port"),
        (("judge", "--wait-s", "soon"), "--wait-s"),
        (("judge", "--muted-s", "0"), "--muted-s"),
        (("judge", "--refused-in-row-max", "1.5"), "--refused-in-row-max"),
        (("archivist", "--commit-s", "0"), "--commit-s"),
    ],
)
def test_wrong_options_are_said(options: tuple[str, ...], problem: str) -> None:
    said = ledger("--log", "kafka://127.0.0.1:1", "worker", *options)

    assert said.code == 2
    assert problem in said.err


def test_up_heeds_the_variables_of_workers() -> None:
    """It has few options of its own; the others are not set back to their defaults."""
    said = process("--log", "kafka://127.0.0.1:1", "up", LEDGER_WEB_PORT="many")

    assert said.code == 2
    assert "LEDGER_WEB_PORT is 'many'; it must be a whole number, 0 or more" in said.err
