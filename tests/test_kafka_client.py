"""The log on Kafka without a broker: what is said then, what is loaded, whose verdict counts."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aiokafka", reason="install coordination-ledger[kafka]")

import ledger
from ledger.core.verdicts import Verdict
from ledger.log import LogUnreachable, kafka_place
from ledger.log.kafka_bell import LocalBell
from ledger.log.kafka_feed import VerdictFeed
from ledger.log.kafka_loop import loop_thread
from ledger.log.kafka_place import BadPlace
from ledger.log.kafka_verdicts import ANNOUNCED, Heard, Published, announcement
from ledger.wire import UnreadableEvent, encode_verdict

NOBODY = "kafka://127.0.0.1:1/none"
"""A port on which nobody listens."""


def test_where_no_broker_answers_it_is_said_with_what_to_do() -> None:
    with pytest.raises(LogUnreachable, match=r"brokers do not answer.*see that they are up"):
        ledger.connect(NOBODY)


def test_the_environment_may_name_a_log_on_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_LOG", NOBODY)

    with pytest.raises(LogUnreachable):
        ledger.connect()


def test_a_secret_is_in_no_error() -> None:
    with pytest.raises(LogUnreachable) as caught:
        ledger.connect("kafka://me:secret@127.0.0.1:1")

    assert "secret" not in str(caught.value)


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadPlace, match=r"ca '.*none.pem' cannot be read: No such file"):
        ledger.connect(f"kafkas://127.0.0.1:1?ca={tmp_path / 'none.pem'}")


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(BadPlace, match="unknown option"):
        ledger.connect("kafka://127.0.0.1:1?what=1")


def test_a_log_that_is_a_file_loads_nothing_of_kafka(tmp_path: Path) -> None:
    """And a log on Kafka no database."""
    for path, strange in ((str(tmp_path / "ledger.db"), "aiokafka"), (NOBODY, "apsw")):
        program = (
            "import sys, ledger\n"
            f"try: ledger.connect({path!r}, judge='none').close()\n"
            "except ledger.LedgerError: pass\n"
            f"print({strange!r} in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )

        assert done.stdout.strip() == "False"
        assert done.stderr == ""


def test_the_loop_takes_work_from_any_thread() -> None:
    async def name() -> str:
        return threading.current_thread().name

    assert loop_thread().call(name(), 20) == "ledger-kafka"
    assert loop_thread() is loop_thread()


def test_a_bell_that_was_rung_before_is_heard() -> None:
    gone: list[int] = []
    with LocalBell(lambda: gone.append(1)) as bell:
        assert not bell.wait(0.0)
        bell.ring()
        bell.ring()

        assert bell.wait(20.0)
        assert not bell.wait(0.0)
    assert gone == [1]


@given(st.builds(Heard, *[st.integers(0)] * 3))
def test_what_is_noted_beside_an_offset_is_read_back(heard: Heard) -> None:
    assert Heard.of(heard.note()) == heard


@given(st.text())
def test_a_note_of_somebody_else_means_from_the_start(note: str) -> None:
    """Tools that reset offsets write what they like."""
    found = Heard.of(note)

    assert found == Heard() or all(part.isdecimal() for part in note.split(" "))


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"generation":"x"}', b"\xff"])
def test_an_announcement_of_nothing_is_unreadable(value: bytes) -> None:
    """Whoever may write to the topic could otherwise end every judge that takes over."""
    with pytest.raises(UnreadableEvent, match="it announces no generation"):
        Published().take(ANNOUNCED, value)


Said = tuple[str, int, int]


@given(
    st.lists(st.tuples(st.sampled_from(["mark", "a", "b"]), st.integers(0, 3), st.integers(0, 5))),
    st.integers(0, 30),
)
def test_reading_from_a_note_is_reading_from_the_start(said: list[Said], cut: int) -> None:
    """Whoever begins where the judges say, with the generation they say, hears the same."""
    whole, rule = [], Published()
    cut = min(cut, len(said))
    at_cut = Published()
    for place, one in enumerate(said):
        if place == cut:
            at_cut = Published(rule.generation, rule.last_offset)
        whole.append(take(rule, one))
    later = [take(at_cut, one) for one in said[cut:]] if cut < len(said) else []

    assert whole[cut:] == later


@given(st.lists(st.tuples(st.sampled_from(["mark", "a", "b"]), st.integers(0, 3))))
def test_passing_over_runs_of_others_changes_nothing_for_ours(said: list[tuple[str, int]]) -> None:
    """A client decodes only the marks and the records of its own runs."""
    everything, ours = Published(), Published()
    heard_all, heard_ours = [], []
    for offset, (name, generation) in enumerate(said):
        verdict = take(everything, (name, generation, offset))
        if name == "a":
            heard_all.append(verdict)
        if name != "b":
            verdict = take(ours, (name, generation, offset))
        if name == "a":
            heard_ours.append(verdict)

    assert heard_all == heard_ours


def take(rule: Published, one: Said) -> Verdict | None:
    """What the rule makes of a mark or of a verdict on a run."""
    name, generation, offset = one
    if name == "mark":
        return rule.take(ANNOUNCED, announcement(generation, version=1))
    verdict = Verdict(offset=offset, run=name, generation=generation)
    return rule.take(name.encode(), encode_verdict(verdict))


def test_who_waits_for_a_partition_that_nobody_needs_goes_on() -> None:
    """Brokers are away, and the run ends: what it said waits for them, and for nothing else."""
    place = kafka_place.place("kafka://127.0.0.1:1/x")

    async def story() -> None:
        feed = VerdictFeed(place, 4, set(), lambda *said: None, lambda: False)
        feed.want(0)
        waiting = asyncio.create_task(feed.ready(0))
        done, _ = await asyncio.wait({waiting}, timeout=0.01)
        assert not done
        feed.tidy()
        await asyncio.wait_for(waiting, 60)

    asyncio.run(story())
