"""Commands for a log on Kafka, where there is none: a sentence that says what to do."""

from pathlib import Path

import pytest

from tests.cli.calling import ledger

NOBODY = "kafka://127.0.0.1:1/nobody"


@pytest.mark.parametrize("verb", ["apply", "check"])
def test_without_a_broker_it_says_so(verb: str) -> None:
    """And nothing else: no traceback, no lines of the Kafka client."""
    said = ledger("--log", NOBODY, "topics", verb)

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("ledger: 127.0.0.1:1: ")
    assert said.err.endswith("is the broker up, and the address right?\n")
    assert len(said.err.splitlines()) == 1


def test_a_file_has_no_topics(tmp_path: Path) -> None:
    said = ledger("--log", tmp_path / "ledger.db", "topics", "check")

    assert said.code == 2
    assert "is no log on Kafka; name one with --log kafka://" in said.err


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("kafka://user:hush@", "no host"),
        ("kafka://host:9092/p?colour=red", "unknown option 'colour'"),
        ("kafkas://host:9092/p?ca=missing.pem", "ca 'missing.pem' cannot be read: No such file"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, problem: str) -> None:
    """Without the secret that it may hold."""
    said = ledger("--log", url, "topics", "check")

    assert said.code == 2
    assert problem in said.err
    assert "hush" not in said.err
