"""When nobody judges: what the policy says, for as long as it says, and never on a known kill."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import ledger
from ledger.core import events as e
from ledger.judge import Judge
from ledger.log import LogUnreachable
from ledger.log.sqlite import SqliteLog
from tests.clients import connected, limits, of_type, refusals
from tests.judging import applied, caught_up
from tests.waiting import wait_for


class JudgeThread:
    """A judge that can be ended and begun again."""

    def __init__(self, path: Path) -> None:
        self._log = SqliteLog(path)
        self._judge = Judge(self._log)
        self._thread = threading.Thread(target=self._judge.run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._judge.stop()
        self._thread.join(120)
        self._log.close()


def test_without_a_judge_a_spawn_is_denied_after_a_while(tmp_path: Path) -> None:
    pinned = limits(unreachable_wait_ms=50)
    with connected(tmp_path, pinned, judge="none") as led, led.run("r") as run:
        with pytest.raises(ledger.Denied, match="cannot be reached: no judge") as denied:
            run.spawn("a").__enter__()

        assert denied.value.decision.limit == "unreachable.spawn"
        assert denied.value.decision.retry_ms == 50


@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_that_overtakes_the_acknowledgement_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A request is in the log and answered, and its append fails all the same: brokers went away
    in between. When it is given again, the log finds it there, or it is there twice."""
    with connected(tmp_path) as led, led.run("r") as run:
        led.flush()
        append = led.log.append
        given: list[bytes] = []

        def unacknowledged(rows: list[tuple[str, bytes]]) -> list[int]:
            due = [row for row in rows if given.count(row[1]) < times]
            first = due and due[0][1] not in given
            given.extend(value for _, value in due)
            append(due)
            if first:
                wait_for(lambda: caught_up(led.log), what="the judge")
                wait_for(lambda: led._engine.verdicts._pos == led.log.verdicts_end(), what="it")
                raise LogUnreachable(led.path, "no acknowledgement", "wait")
            return [-1] * len(rows)

        monkeypatch.setattr(led.log, "append", unacknowledged)
        with run.tool_call("t"):
            pass
        with run.spawn("a"):
            pass
        monkeypatch.undo()
        led.flush()

        assert refusals(led.log) == []
        (began,) = of_type(led.log, e.ToolCallStarted)[:1]
        assert began.lease


@pytest.mark.parametrize("act", ["tool_call", "model_call", "spawn"])
def test_where_the_policy_says_proceed_it_goes_on_and_is_counted(tmp_path: Path, act: str) -> None:
    """Recorded without a lease: the judge counts it as unadmitted when it is back."""
    pinned = limits(**{"unreachable_wait_ms": 20, f"unreachable_{act}": "proceed"})
    with connected(tmp_path, pinned, judge="none") as led, led.run("r") as run:
        with getattr(run, act)("x") as entered:
            if act == "model_call":
                entered.usage(output_tokens=5, cost_microdollars=5)
        led.flush()
        judge = JudgeThread(tmp_path / "ledger.db")
        wait_for(lambda: caught_up(led.log), what="the judge")
        # What was asked for and answered too late goes back.
        wait_for(lambda: not any(r for r in reserved(led, run.id)), what="the leases")
        judge.end()

        assert applied(led.log).runs[run.id].unadmitted == 1
        assert refusals(led.log) == []


def reserved(led: ledger.Ledger, run: str) -> list[int]:
    """What is set aside in the run, by unit."""
    budget = applied(led.log).runs[run].budget
    return [budget.reserved(unit) for unit in range(5)]


def test_proceeding_has_a_hard_stop(tmp_path: Path) -> None:
    pinned = limits(
        unreachable_wait_ms=20, unreachable_proceed_ms=150, unreachable_tool_call="proceed"
    )
    with connected(tmp_path, pinned, judge="none") as led, led.run("r") as run:
        done: list[int] = []

        def work() -> bool:
            try:
                with run.tool_call("t"):
                    done.append(1)
            except ledger.Denied:
                return True
            return False

        wait_for(work, 20, what="the hard stop")

        assert done


def test_nothing_proceeds_on_a_known_kill(tmp_path: Path) -> None:
    """An order needs no judge to bite."""
    pinned = limits(unreachable_wait_ms=20, unreachable_tool_call="proceed")
    with connected(tmp_path, pinned, judge="none") as led, led.run("r") as run:
        led.kill(run.id)
        with pytest.raises(ledger.Killed):
            run.tool_call("t").__enter__()


def test_a_lease_outlives_its_judge(tmp_path: Path) -> None:
    """The default: calls live on their leases while nobody judges, and stop with them."""
    pinned = limits(unreachable_wait_ms=50, lease_ttl_ms=600_000)
    judge = JudgeThread(tmp_path / "ledger.db")
    with connected(tmp_path, pinned, judge="none") as led, led.run("r") as run:
        done = 0

        def first() -> bool:
            nonlocal done
            try:
                with run.tool_call("t"):
                    done += 1
            except ledger.Denied:
                return False  # The answer came too late.
            return True

        wait_for(first, what="a lease")
        judge.end()

        def work() -> bool:
            nonlocal done
            try:
                with run.tool_call("t"):
                    done += 1
            except ledger.Denied:
                return True
            return False

        wait_for(work, 20, what="the end of the lease")

        assert done == 16


def test_a_judge_that_comes_back_is_found_again(tmp_path: Path) -> None:
    pinned = limits(unreachable_wait_ms=300)
    with connected(tmp_path, pinned, judge="none") as led, led.run("r") as run:
        with pytest.raises(ledger.Denied):
            run.spawn("a").__enter__()
        judge = JudgeThread(tmp_path / "ledger.db")
        wait_for(lambda: spawned(run, "a"), what="the judge")
        judge.end()


def test_a_full_disk_denies_and_then_goes_on(tmp_path: Path) -> None:
    """The log fails, not the judge: the same rules hold, and the reason is said."""
    from tests.test_client_queue import no_room

    with connected(tmp_path, limits(unreachable_wait_ms=100)) as led, led.run("r") as run:
        wait_for(lambda: spawned(run, "a"), what="the judge")
        with no_room(), pytest.raises(ledger.Denied, match="no space is left"):
            run.spawn("b").__enter__()
        wait_for(lambda: spawned(run, "c"), what="the log")
    with connected(tmp_path) as led:
        assert [a.role for a in of_type(led.log, e.AgentStarted)] == ["a", "c"]


def spawned(run: ledger.Run, role: str) -> bool:
    """Whether a child could be started, which an answer that comes too late prevents."""
    try:
        with run.spawn(role):
            return True
    except ledger.Denied:
        return False


def test_answers_that_come_late_say_that_somebody_is_there(tmp_path: Path) -> None:
    """Else whoever was away once would never be waited for again, however slow it is."""
    pinned = limits(unreachable_wait_ms=50)
    with connected(tmp_path, pinned, judge="none") as led, led.run("r") as run:
        with pytest.raises(ledger.Denied, match="no judge answers"):
            run.tool_call("t").__enter__()
        assert led._engine.away
        judge = JudgeThread(tmp_path / "ledger.db")
        wait_for(lambda: not led._engine.away, what="an answer")
        judge.end()
