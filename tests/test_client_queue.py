"""What was recorded reaches the log: in order, once, also when the log fails for a while."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ledger
from ledger import LedgerError
from ledger.client.answers import Closed
from ledger.core import events as e
from ledger.core.events import Event
from ledger.log import LogFull, LogMissing
from ledger.wire import decode
from tests.clients import connected, heard, is_in_order, judged, limits, of_type, refusals, types
from tests.waiting import wait_for


def said(run: str, n: int) -> Event:
    """An event that can be told from others."""
    return e.OutcomeReported(run=run, note=str(n))


def notes(led: ledger.Ledger) -> list[int]:
    """What `said` made, in the order of the log."""
    return [int(event.note) for event in of_type(led.log, e.OutcomeReported)]


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process may grow: what a full disk is to it."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_what_flush_returned_from_is_in_the_log(tmp_path: Path) -> None:
    with connected(tmp_path, judge="none") as led:
        for n in range(3_000):
            led.record(said("r", n))
        led.flush()

        assert notes(led) == list(range(3_000))
        is_in_order(led.log)


def test_what_was_recorded_is_written_without_being_asked(tmp_path: Path) -> None:
    with connected(tmp_path, judge="none") as led:
        led.record(said("r", 1))
        wait_for(lambda: notes(led) == [1], what="the flushing thread")


def test_a_process_that_just_ends_still_writes(tmp_path: Path) -> None:
    """Scripts end without closing anything."""
    program = (
        "import ledger, sys; from tests.test_client_queue import said\n"
        "led = ledger.connect(sys.argv[1], judge='none')\n"
        "for n in range(500): led.record(said('r', n))\n"
    )
    path = tmp_path / "ledger.db"
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=120)

    with ledger.connect(path, judge="none") as led:
        assert notes(led) == list(range(500))


def test_threads_record_at_once(tmp_path: Path) -> None:
    """Numbers have no gap, whoever spoke, and each thread's words stay in its order."""
    with connected(tmp_path, judge="none") as led:

        def work(first: int) -> None:
            for n in range(first, first + 400):
                led.record(said(f"r{first % 3}", n))

        threads = [threading.Thread(target=work, args=(t * 1_000,)) for t in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        led.flush()
        found = notes(led)

        is_in_order(led.log)
        assert len(found) == 2_400
        for t in range(6):
            mine = [n for n in found if n // 1_000 == t]
            assert mine == sorted(mine)


def test_a_full_disk_loses_nothing_and_delays_only(tmp_path: Path) -> None:
    with connected(tmp_path, judge="none") as led:
        led.record(said("r", 0))
        led.flush()
        with no_room():
            for n in range(1, 500):
                led.record(said("r", n))
            with pytest.raises(ledger.NotDurable, match="no space is left") as late:
                led.flush(0.2)
        led.flush()

        assert isinstance(late.value.problem, LogFull)
        assert late.value.unsent > 0
        assert notes(led) == list(range(500))
        is_in_order(led.log)


def full(tmp_path: Path, how: str) -> ledger.Ledger:
    return connected(
        tmp_path, limits(client_queue_max=50, client_queue_full=how, unreachable_wait_ms=1_000),
        judge="none",
    )  # fmt: skip


def test_a_full_queue_raises_if_so_set(tmp_path: Path) -> None:
    with full(tmp_path, "raise") as led:
        led.record(said("r", 0))
        led.flush()
        with no_room():
            with pytest.raises(ledger.QueueFull, match=r"client\.queue_max") as refused:  # noqa: PT012
                for n in range(1, 200):
                    led.record(said("r", n))
            assert refused.value.size >= 50
        led.flush()

        assert notes(led) == list(range(len(notes(led))))
        assert len(notes(led)) >= 50


def test_a_full_queue_drops_if_so_set_and_the_hole_shows(tmp_path: Path) -> None:
    """What is missing is counted here, and noted by the judge as a gap."""
    with full(tmp_path, "drop") as led:
        led.record(said("r", 0))
        led.flush()
        with no_room():
            for n in range(1, 200):
                led.record(said("r", n))
        led.flush()
        led.record(said("r", 999))
        led.flush()
        last = of_type(led.log, e.OutcomeReported)[-1]

        assert led.dropped > 100
        assert last.note == "999"
        assert last.seq == len(notes(led)) + led.dropped


def test_a_full_queue_waits_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with full(tmp_path, "wait") as led:
        done = threading.Event()

        def work() -> None:
            for n in range(2_000):
                led.record(said("r", n))
            done.set()

        thread = threading.Thread(target=work)
        with no_room():
            thread.start()
            wait_for(lambda: len(led._engine.queue) >= 50, what="the queue to fill")
            assert not done.is_set()
        thread.join(30)
        led.flush()

        assert done.is_set()
        assert notes(led) == list(range(2_000))


def test_a_full_queue_does_not_wait_for_ever(tmp_path: Path) -> None:
    led = full(tmp_path, "wait")
    with no_room():
        with pytest.raises(ledger.QueueFull, match="no space is left"):  # noqa: PT012
            for n in range(200):
                led.record(said("r", n))
        with pytest.raises(ledger.NotDurable):
            led.close(0.1)
    led.close()


def test_leaving_a_call_never_raises_however_full_the_queue(tmp_path: Path) -> None:
    """The body is done; an error here would take its result away."""

    def fill(led: ledger.Ledger, run: str) -> None:
        for n in range(200):
            led.record(said(run, n))

    pinned = limits(client_queue_max=60, client_queue_full="raise")
    with connected(tmp_path, pinned) as led, led.run("r") as run, run.tool_call("t"):  # noqa: SIM117
        with no_room(), pytest.raises(ledger.QueueFull), run.tool_call("fill"):
            fill(led, run.id)
    with connected(tmp_path) as led:
        assert len(of_type(led.log, e.ToolCallEnded)) == 2


def test_a_log_that_was_removed_is_said(tmp_path: Path) -> None:
    led = connected(tmp_path, judge="none")
    led.record(said("r", 1))
    led.flush()
    (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
    led.record(said("r", 2))
    with pytest.raises(ledger.NotDurable, match="removed or replaced") as late:
        led.flush(0.3)
    assert isinstance(late.value.problem, LogMissing)
    (tmp_path / "elsewhere.db").rename(tmp_path / "ledger.db")
    led.close()

    with ledger.connect(tmp_path / "ledger.db", judge="none") as again:
        assert notes(again) == [1, 2]


@pytest.mark.parametrize(
    "path", ["no/such/folder/ledger.db", ".", "text.txt"], ids=["no folder", "a folder", "a text"]
)
def test_a_place_where_no_log_can_be_is_said_at_once(tmp_path: Path, path: str) -> None:
    (tmp_path / "text.txt").write_text("hello, this is no database" * 100)
    with pytest.raises(LedgerError, match=r"ledger\.db|text\.txt|no file"):
        ledger.connect(tmp_path / path, judge="none")


def test_after_close_nothing_is_recorded_and_nothing_is_silent(tmp_path: Path) -> None:
    led = connected(tmp_path, judge="none")
    led.close()
    with pytest.raises(Closed, match="connect again"):
        led.record(said("r", 1))
    led.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_everything_recorded_decodes_whatever_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Contexts build their events late and far away: what reaches the log must still be valid."""
    words = st.text(max_size=8) | st.sampled_from(["x" * 2_048, "x" * 2_049, "\ud800", "é" * 3_000])
    anything = st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | words | st.binary(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=5,
    )
    ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
    capture = data.draw(st.sampled_from(["none", "payloads"]))
    counts = st.integers(0, 2**40)
    with connected(tmp_path_factory.mktemp("any"), limits(client_capture=capture)) as led:
        with led.run(
            data.draw(words), labels=data.draw(st.dictionaries(ids, words, max_size=3))
        ) as run:
            run.plan(data.draw(words), data.draw(st.lists(words, max_size=4)))
            run.constraint(data.draw(words))
            run.output(data.draw(anything))
            role = data.draw(ids)
            with run.spawn(role, task=data.draw(words)) as agent:
                with agent.tool_call(data.draw(ids), data.draw(anything)) as tool:
                    tool.result(data.draw(anything))
                with agent.model_call(data.draw(ids), prompt=data.draw(anything)) as model:
                    model.result(data.draw(anything))
                    model.usage(input_tokens=data.draw(counts), cost_microdollars=data.draw(counts))
                with agent.handoff(agent.id, goal=data.draw(words)) as work:
                    work.result(data.draw(anything))
        judged(led)

        assert all(decode(row.value) for row in led.log.read(0, 1_000))
        assert "run_ended" in types(led.log)
        assert refusals(led.log) == []
        is_in_order(led.log)


def test_an_event_that_has_a_number_is_not_numbered_again(tmp_path: Path) -> None:
    with connected(tmp_path, judge="none") as led, pytest.raises(ledger.BadValue, match="itself"):
        led.record(e.OutcomeReported(run="r", source="another", seq=4))


def test_what_an_event_claims_is_kept(tmp_path: Path) -> None:
    """Its time and its grade are the caller's."""
    with connected(tmp_path, judge="none") as led:
        led.record(e.OutcomeReported(run="r", at_ms=5, grade="observed"))
        led.flush()

        assert [(event.at_ms, event.grade) for event in heard(led.log)] == [(5, "observed")]


def test_an_event_of_no_known_kind_is_kept_as_unreadable_and_holds_up_nobody(
    tmp_path: Path,
) -> None:
    class Own(e.OutcomeReported):
        """A kind that somebody made himself."""

    with connected(tmp_path) as led:
        led.record(Own(run="r", note="0"))
        led.record(said("r", 1))
        led.flush()
        (refused,) = led.log.refused(0, 10)

        assert notes(led) == [1]
        assert "Own" in refused.reason
        is_in_order(led.log)


def test_a_request_that_cannot_be_made_is_denied_with_the_reason(tmp_path: Path) -> None:
    """And at once: nobody will ever answer it."""
    with connected(tmp_path) as led, led.run("r") as run:
        stranger = led.join(ledger.Identity(run.id, "x" * 200))
        with pytest.raises(ledger.Denied, match="at most 128 characters"):
            stranger.tool_call("t").__enter__()
