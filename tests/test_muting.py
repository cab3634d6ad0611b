"""Too much bad input from one source is counted, not copied; what is good of it always counts."""

from pathlib import Path

import pytest

from ledger import connect, wire
from ledger.core.events import RunStarted
from ledger.judge import Judge
from ledger.judge.muting import Muting, source_of
from ledger.log.sqlite import SqliteLog
from ledger.settings import BadVariable, MuteLimits, mute_limits


def test_too_many_in_a_row_mute_their_source_and_no_other() -> None:
    muting = Muting(MuteLimits(in_row_max=3, muted_ms=1_000))
    heeds = [muting.refused("a", 0) for _ in range(5)]

    assert [heed.copied for heed in heeds] == [True, True, True, False, False]
    assert [heed.finding.partition(":")[0] for heed in heeds] == ["", "", "source_muted", "", ""]
    assert "3 records of 'a' were refused in a row" in heeds[2].finding
    assert muting.refused("b", 0).copied
    assert muting.muted == 2


def test_a_good_record_ends_the_row_and_the_mute() -> None:
    """One good, one bad, for ever, is a bad client and no flood."""
    muting = Muting(MuteLimits(in_row_max=2))
    for _ in range(10):
        assert muting.refused("a", 0) == (True, "")
        assert muting.good("a") == ""
    muting.refused("a", 0)
    muting.refused("a", 0)
    muting.refused("a", 0)

    assert muting.good("other", "a") == (
        "source_heard: 'a' is muted no more; 1 refused records were not copied"
    )
    assert muting.refused("a", 0) == (True, "")


def test_a_mute_ends_with_time() -> None:
    """So that what goes on for days is seen every minute."""
    muting = Muting(MuteLimits(in_row_max=1, muted_ms=1_000))
    muting.refused("a", 0)

    assert not muting.refused("a", 999).copied
    assert muting.refused("a", 1_000).finding.startswith("source_heard: ")


def test_sources_are_bounded() -> None:
    """Each record may name another."""
    muting = Muting(MuteLimits(sources_max=7))
    for number in range(70):
        muting.refused(str(number), 0)

    assert len(muting.bad) == 7


def test_the_limits_come_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever judges in the background has no command line."""
    limits = MuteLimits(3, 1_500, 9)
    for name, value in limits.variables().items():
        monkeypatch.setenv(name, str(value))

    assert mute_limits() == limits


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("LEDGER_REFUSED_IN_ROW_MAX", "0", "a whole number, 1 or more"),
        ("LEDGER_REFUSED_SOURCES_MAX", "2.5", "a whole number, 1 or more"),
        ("LEDGER_MUTED_S", "soon", "a number, 1 or more"),
        ("LEDGER_MUTED_S", "inf", "a number, 1 or more"),
        ("LEDGER_JUDGE_IDLE_S", "a while", "a number, 0 or more"),
    ],
)
def test_a_wrong_variable_is_named_when_a_client_connects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, wanted: str
) -> None:
    """The judge would say it where nobody looks, and requests would wait."""
    monkeypatch.setenv(name, value)
    with pytest.raises(BadVariable, match=f"{name} is '{value}'; it must be {wanted}"):
        connect(tmp_path / "ledger.db")


@pytest.mark.parametrize(
    ("value", "source"),
    [
        (b'{"source":"host-7","type":"?"}', "host-7"),
        (b'{"source":7}', "key r"),
        (b"{not json", "key r"),
        (b"\xff\xfe", "key r"),
        (b"", "key r"),
        (None, "key r"),
        (b'{"source":"' + b"x" * 10_000 + b'"}', "x" * 140),
    ],
)
def test_a_source_is_what_the_bytes_say_or_their_key(value: bytes | None, source: str) -> None:
    assert source_of(value, "r") == source


def test_the_judge_of_a_file_mutes_too(tmp_path: Path) -> None:
    """The judge goes on; what is good of the same source is judged, and ends it."""
    in_row_max = 3
    bad = ("r", b'{"type":"nonsense","source":"host-7"}')
    good = ("r", wire.encode(RunStarted(run="r", agent="lead", source="host-7", seq=1)))
    with SqliteLog(tmp_path / "ledger.db", create=True) as log:
        log.append([bad] * (in_row_max + 50))
        log.append([good, bad])
        judge = Judge(log, mutes=MuteLimits(in_row_max))
        while judge.step():
            pass
        judge.close()
        rows = log.refused(0, 10 * in_row_max)
        next_offset, end = log.judge().next_offset, log.end()

    assert next_offset == end
    assert {row.source for row in rows} == {"host-7"}
    assert sum(row.value == bad[1] for row in rows) == in_row_max + 1
    assert [row.reason.partition(":")[0] for row in rows if not row.value] == [
        "source_muted", "source_heard",
    ]  # fmt: skip
    assert "50 refused records were not copied" in rows[-2].reason
