"""Judges of two deciding versions in one group: what was published stays, the higher goes on.

The next version is real code: a copy of the package whose version is one higher, and which denies
every spawn. The present one is a copy too, which checkpoints only when it hands a partition over.
"""

import asyncio
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic_core import from_json

from ledger.core.lifecycle import FOLD_VERSION
from ledger.log.kafka_place import Place, group_of
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_verdicts import ANNOUNCED
from ledger.processors.app import GROUP
from tests.live.kafka.chaos import Workers, ends_of, judged
from tests.live.kafka.test_take_over import fill
from tests.live.kafka.traffic import Traffic
from tests.live.kafka.truth import Truth, folded, kept
from tests.live.kafka.workers import UP_S, members
from tests.waiting import wait_for
from tests.wheel import ROOT

NEXT = FOLD_VERSION + 1
NO = "nobody spawns any more"
SESSION_S = "10"
"""Long enough for a machine that does five other things."""
LONG_S = "300"
"""A session so long that nobody who waits for its end passes."""
DENIES = f'''

_before = admit


def admit(run, agent, request, offset):
    if isinstance(request, SpawnRequested):
        return None, Denial("{NO}")
    return _before(run, agent, request, offset)
'''


def copy(folder: Path) -> Path:
    """The package, in a folder where it can be changed."""
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("ledger", "processors", "queries"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=leave)
    return folder / "ledger"


def change(file: Path, name: str, value: str) -> None:
    """Give a constant of a module another value."""
    text, changed = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", file.read_text())
    assert changed == 1
    file.write_text(text)


def versions_of(folder: Path) -> tuple[Path, Path]:
    """The present package, and the next one."""
    now, later = copy(folder / "now"), copy(folder / "later")
    change(now / "judge" / "checkpoint.py", "EVERY_S", "10_000.0")
    change(later / "core" / "lifecycle.py", "FOLD_VERSION", str(NEXT))
    with (later / "core" / "admission.py").open("a") as file:
        file.write(DENIES)
    return now, later


@contextmanager
def judges(
    place: Place, folder: Path, package: Path, session_s: str = SESSION_S
) -> Iterator[Workers]:
    """Judges with the code in `package`; none is left at the end."""
    folder.mkdir()
    workers = Workers(place, folder, LEDGER_SESSION_S=session_s, PYTHONPATH=str(package.parent))
    try:
        yield workers
    except BaseException:
        print(workers.said())
        raise
    finally:
        workers.end()


async def versions(place: Place) -> dict[int, int]:
    """Which version announced itself last in each partition."""
    found: dict[int, int] = {}
    topic = place.topic("verdicts")
    async with Reader(place) as reader:
        for number in range(place.partitions or 0):
            begin, end = await reader.bounds(topic, number)
            async for records in reader.read(topic, number, begin, end):
                for record in records:
                    if record.key == ANNOUNCED:
                        found[number] = from_json(record.value)["version"]
    return found


def said(place: Place, partition: int) -> Truth:
    """What judges left of a partition."""
    return asyncio.run(kept(place, group_of(place), partition))


def write(place: Place, fleet: list[Traffic]) -> list[int]:
    """Some events in each partition; the next offsets."""
    for traffic in fleet:
        asyncio.run(fill(place, traffic, 3))
    return asyncio.run(ends_of(place))


def body(row: bytes) -> object:
    """A run of a checkpoint, without the version that wrote it."""
    return from_json(row)[1:]


def test_an_upgrade_keeps_what_was_published(place: Place, tmp_path: Path) -> None:
    """A judge dies between its verdicts and its checkpoint, and one of the next version takes
    over: it applies them, decides what comes after by its own rules, and from then on no judge of
    the version before decides anything."""
    now, later = versions_of(tmp_path)
    count = place.partitions or 0
    fleet = [Traffic(number, count, seed=31) for number in range(count)]
    with (
        judges(place, tmp_path / "1", now) as old,
        judges(place, tmp_path / "2", later) as new,
        judges(place, tmp_path / "3", now) as late,
    ):
        old.start()
        begins = write(place, fleet)
        wait_for(lambda: len(asyncio.run(versions(place))) == count, UP_S, what="judges")
        new.start()
        wait_for(lambda: shared(place), UP_S, what="each version to have two", poll_s=0.1)
        mine = [p for p, version in asyncio.run(versions(place)).items() if version != NEXT]
        ends = write(place, fleet)
        wait_for(lambda: _spoke(place, mine, begins), UP_S, what="verdicts", poll_s=0.1)
        old.kill(1)
        published = {p: said(place, p) for p in mine}
        ends = write(place, fleet)
        wait_for(lambda: judged(place, ends), UP_S, what="all to be judged", poll_s=0.2)
        late.start()
        assert late.running[1].wait(UP_S) == 1
        ends = write(place, fleet)
        wait_for(lambda: judged(place, ends), UP_S, what="the rest to be judged", poll_s=0.2)
        new.stop(1)

        assert f"deciding version {NEXT} has judged" in late.said()
        assert "Traceback" not in late.said()
        for number in range(count):
            holds(place, number, said(place, number))
    for number, before in published.items():
        assert before.end <= max(before.verdicts)
        after = said(place, number).verdicts
        assert {at: after[at] for at in before.verdicts} == before.verdicts


def test_a_lower_one_that_must_end_keeps_nobody_waiting(place: Place, tmp_path: Path) -> None:
    """A worker of the next version ends, and one of the version before is given what that has
    judged: it settles what it held and leaves, and no session is waited for."""
    now, later = versions_of(tmp_path)
    count = place.partitions or 0
    fleet = [Traffic(number, count, seed=32) for number in range(count)]
    with (
        judges(place, tmp_path / "1", now, LONG_S) as old,
        judges(place, tmp_path / "2", later, LONG_S) as new,
    ):
        old.start()
        write(place, fleet)
        wait_for(lambda: len(asyncio.run(versions(place))) == count, UP_S, what="judges")
        new.start()
        wait_for(lambda: shared(place), UP_S, what="each version to have two", poll_s=0.1)
        write(place, fleet)
        assert new.stop(1) == 0
        assert old.running[1].wait(UP_S) == 1
        assert members(place, GROUP) == []
        assert f"deciding version {NEXT} has judged" in old.said()
        assert "Traceback" not in old.said()
        new.start()
        ends = write(place, fleet)
        wait_for(lambda: judged(place, ends), UP_S, what="all to be judged", poll_s=0.2)
        new.stop(2)
    for number in range(count):
        holds(place, number, said(place, number))


def shared(place: Place) -> bool:
    """Whether each version has two partitions."""
    return list(asyncio.run(versions(place)).values()).count(NEXT) == 2


def _spoke(place: Place, partitions: list[int], begins: list[int]) -> bool:
    return all(max(said(place, p).verdicts, default=-1) >= begins[p] for p in partitions)


def holds(place: Place, number: int, ours: Truth) -> None:
    """Runs, and so budgets, are what the verdicts make of the events; each version decided a
    stretch of them, by its own rules."""
    plain = asyncio.run(folded(place, number, place.partitions or 0, ours.end, ours.verdicts))
    first = min(offset for offset, one in ours.verdicts.items() if one.version == NEXT)
    before = {at: one for at, one in ours.verdicts.items() if at < first}
    as_before = asyncio.run(folded(place, number, place.partitions or 0, first))
    spawns = [one for one in ours.verdicts.values() if one.about == "spawn_requested"]

    assert {run: body(row) for run, row in ours.runs.items()} == {
        run: body(row) for run, row in plain.runs.items()
    }
    assert (ours.ended, ours.refused) == (plain.ended, plain.refused)
    assert {one.version for one in before.values()} == {FOLD_VERSION}
    assert before == as_before.verdicts
    assert {one.version for at, one in ours.verdicts.items() if at >= first} == {NEXT}
    assert {one.version for one in spawns if one.decision == "allow"} == {FOLD_VERSION}
    denied = {one.version for one in spawns if one.denial and one.denial.reason == NO}
    assert denied == {NEXT}
