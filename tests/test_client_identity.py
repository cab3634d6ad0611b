"""Who acts: carried into tasks and threads, written for other processes, read strictly."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger
from ledger import Identity
from tests.clients import connected

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[ledger.Run]:
    with connected(tmp_path) as led, led.run("r") as entered:
        yield entered


@given(IDS, IDS, st.lists(IDS, max_size=64), st.sampled_from(["", "abc", "a;b=c"]))
def test_what_is_written_is_read(run: str, agent: str, path: list[str], policy: str) -> None:
    """Ids may hold anything that can be shown, the separators too."""
    who = Identity(run, agent, tuple(path), policy)
    if len(str(who)) > 16_384:
        return

    assert Identity.parse(str(who)) == who
    assert Identity.from_env(who.to_env()) == who
    assert Identity.from_header({"Ledger-Identity": str(who), "Accept": "*/*"}) == who


def test_the_form_is_stable() -> None:
    """Other languages write it too."""
    who = Identity("r1", "b", ("lead", "a/x"))

    assert who.to_header() == {"ledger-identity": "v1;run=r1;agent=b;path=lead/a%2Fx"}
    assert who.depth == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "its version is ''"),
        ("v2;run=r;agent=a;path=", "its version is 'v2'"),
        ("v1", "'' is no field"),
        ("v1;run=r", "agent has 0 characters"),
        ("v1;agent=a", "run has 0 characters"),
        ("v1;run=r;agent=", "agent has 0 characters"),
        ("v1;run=r;agent=a;agent=b;path=", "twice"),
        ("v1;run=r;agent=a;path=;colour=red", "is no field"),
        ("v1;run=r;agent=%ff;path=", "agent is no UTF-8"),
        ("v1;run=" + "r" * 129 + ";agent=a;path=", "run has 129 characters"),
        ("v1;run=r;agent=a;path=" + "/".join("a" * 65), "its path has 65 agents"),
        ("v1;run=r;agent=a;path=" + "x" * 20_000, "characters, at most"),
    ],
)
def test_a_wrong_text_is_refused_with_its_reason(text: str, why: str) -> None:
    """It comes from outside: nothing is guessed, and the sender can mend it."""
    with pytest.raises(ledger.BadIdentity, match=why):
        Identity.parse(text)


@given(st.text(max_size=60))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    for candidate in (text, f"v1;{text}", f"v1;run=r;agent={text};path=x"):
        with contextlib.suppress(ledger.BadIdentity):
            assert Identity.parse(candidate).run


def test_two_headers_that_differ_are_refused() -> None:
    headers = {"ledger-identity": "v1;run=r;agent=a;path=", "LEDGER-IDENTITY": "v1;run=r;agent=b"}

    with pytest.raises(ledger.BadIdentity, match="they differ"):
        Identity.from_header(headers)


def test_nothing_there_is_no_identity() -> None:
    assert Identity.from_env({}) is None
    assert Identity.from_header({}) is None


def test_tasks_inherit_the_identity(run: ledger.Run) -> None:
    """Each task is whoever it became itself, whatever the others become meanwhile."""

    async def child(name: str) -> tuple[str, ...]:
        async with ledger.spawn("child", agent=name):
            async with asyncio.timeout(5), ledger.tool_call("t"):
                found = await asyncio.create_task(who())
            return (*found.path, found.agent)

    async def who() -> Identity:
        return ledger.identity()

    async def main() -> list[tuple[str, ...]]:
        return list(await asyncio.gather(*(child(f"c{n}") for n in range(5))))

    assert asyncio.run(main()) == [("lead", f"c{n}") for n in range(5)]
    assert ledger.identity().agent == "lead"


def test_a_thread_has_the_identity_only_if_it_is_given_one(run: ledger.Run) -> None:
    found: list[str] = []

    def look() -> None:
        try:
            found.append(ledger.identity().agent)
        except ledger.NoAgent:
            found.append("nobody")

    for target in (look, ledger.propagate(look)):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    assert found == ["nobody", "lead"]


def test_an_executor_carries_the_identity_of_who_submits(run: ledger.Run) -> None:
    """One pool serves many agents, at once."""
    gate = threading.Barrier(3)

    def look(_: int) -> str:
        gate.wait(120)
        return ledger.identity().agent

    with ThreadPoolExecutor(3) as pool, run.spawn("a", agent="a"):
        assert list(pool.map(ledger.propagate(look), range(3))) == ["a", "a", "a"]
        with ledger.spawn("b", agent="b") as inner:
            work = ledger.propagate(look)
        assert inner.identity.path == ("lead", "a")
        assert [f.result(10) for f in [pool.submit(work, n) for n in range(3)]] == ["b"] * 3


def test_the_identity_is_that_of_before_when_an_agent_is_left(run: ledger.Run) -> None:
    with run.spawn("a", agent="a"):
        assert ledger.identity().agent == "a"
        with pytest.raises(ValueError, match="x"), ledger.spawn("b"):
            raise ValueError("x")
        assert ledger.identity().agent == "a"
    assert ledger.identity().agent == "lead"


def test_children_of_many_processes_get_different_names(tmp_path: Path) -> None:
    """Whoever did not start the run names its children with its own mark."""
    with connected(tmp_path) as led, led.run("r") as run:
        with ledger.connect(tmp_path / "ledger.db", judge="none") as other:
            joined = other.join(run.identity)
            names = {child.agent for child in (run.spawn("a"), joined.spawn("a"))}
        again = run.spawn("a").agent

    assert len(names | {again}) == 3
    assert "a-1" in names


def test_an_identity_is_data(tmp_path: Path) -> None:
    with ledger.connect(tmp_path / "ledger.db", judge="none") as led:
        who = led.run("r", run="r1", agent="a").identity

        assert asdict(who) == {"run": "r1", "agent": "a", "path": (), "policy": led.policy.digest}
        assert copy.deepcopy(who) == who
