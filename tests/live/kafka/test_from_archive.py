"""What Kafka no longer has is folded from the archive: no checkpoint, no prefix, nothing lost."""

import asyncio
from pathlib import Path

import pytest
from deltalake import DeltaTable

from ledger.archive.compact import ALL, compact
from ledger.archive.rows import SCHEMA
from ledger.archive.table import Table
from ledger.core.codec import dump_run
from ledger.core.events import PolicyRecorded, Record
from ledger.core.fold import fold
from ledger.core.state import State
from ledger.judge.checkpoint import MARKER
from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.processors.continuity import EventsLost, LogBroken
from ledger.processors.partition import Partition, Shared
from ledger.processors.takeover import take_over
from ledger.wire import UnreadableEvent, decode
from tests.live.kafka.archived import archivists, caught_up
from tests.live.kafka.calling import command
from tests.live.kafka.chaos import ends_of, judged
from tests.live.kafka.test_loss import traffic_of, trim
from tests.live.kafka.test_take_over import GROUP, feed, fill, judge, make_anew
from tests.live.kafka.traffic import Traffic
from tests.live.kafka.truth import Truth, kept
from tests.live.kafka.workers import UP_S, working
from tests.waiting import wait_for


async def restored(place: Place, where: Path) -> Partition:
    """Partition 0 in the hands of a judge who knows the archive."""
    shared = Shared(place, str(where))
    return await take_over(
        place, GROUP, 0, partitions=place.partitions or 0, failing={}, shared=shared
    )


def archive(place: Place, folder: Path) -> Path:
    """Archive everything there is, some of it compacted."""
    where = folder / "archive"
    with archivists(place, folder, where) as workers:
        workers.start()
        caught_up(place, where, workers)
        workers.stop(1)
    return where


def archived_fold(where: Path, partition: int, partitions: int, end: int) -> Truth:
    """A plain fold of what the archive's files hold of a partition before `end`."""
    rows = DeltaTable(str(where)).to_pyarrow_dataset(schema=SCHEMA).to_table().to_pylist()
    mine = [row for row in rows if (row["log"], row["partition"]) == ("events", partition)]
    truth, state = Truth(end), State(partition)
    for row in sorted(mine, key=lambda row: row["position"]):
        if row["position"] >= end:
            break
        try:
            event = decode((row["payload"] or "").encode() or row["raw"])
        except UnreadableEvent:
            continue
        home = partition_of(row["run"].encode(), partitions)
        if event.run != row["run"] or (home != partition and not isinstance(event, PolicyRecorded)):
            continue
        verdict = fold(state, Record(row["position"], row["append_ms"], event))
        if verdict is not None:
            truth.verdicts[row["position"]] = verdict
    truth.runs = {run: dump_run(held) for run, held in state.runs.items()}
    truth.ended = set(state.ended)
    return truth


def agree(ours: Truth, plain: Truth) -> None:
    """Runs with their budgets, who ended, and every verdict that the topic still has."""
    assert ours.runs == plain.runs
    assert ours.ended == plain.ended
    assert ours.verdicts == {at: plain.verdicts[at] for at in ours.verdicts}
    assert max(plain.verdicts) in ours.verdicts


async def lived(place: Place, traffic: Traffic) -> None:
    """A judge writes a checkpoint, speaks on, and dies; another follows; nobody judged the end."""
    await fill(place, traffic, 6)
    async with judge(place) as partition:
        await feed(place, partition)
        await partition.checkpoint()
        await fill(place, traffic, 6)
        await feed(place, partition)
    async with judge(place) as partition:
        await feed(place, partition)
        await fill(place, traffic, 2)


async def poison(place: Place) -> None:
    """Take away what says how far the checkpoint goes."""
    poisoner = Checkpoints(place, GROUP, 0)
    await poisoner.open()
    await poisoner.write({MARKER: b"[99, what]"})
    await poisoner.commit(0)
    await poisoner.close()


@pytest.mark.parametrize("gone", ["the topic", "the marker", "nothing"])
def test_the_missing_prefix_is_folded_from_the_archive(
    place: Place, tmp_path: Path, gone: str
) -> None:
    """Also what nobody had judged before it was trimmed, and from where a checkpoint ends. Runs
    that live go on, with the budgets that they had."""
    traffic = traffic_of(place, 71)
    asyncio.run(lived(place, traffic))
    where = archive(place, tmp_path)
    compact(where, files_min=ALL)

    async def story() -> None:
        end = (await ends_of(place))[0]
        async with Reader(place) as reader:
            _, said = await reader.bounds(place.topic("verdicts"), 0)
        if gone == "the topic":
            await make_anew(place, "checkpoints")
        elif gone == "the marker":
            await poison(place)
        await trim(place, end - 50)
        await trim(place, said // 2, "verdicts")
        partition = await restored(place, where)

        assert partition.memory.next_offset == end - 50

        await fill(place, traffic, 3)
        await feed(place, partition)
        await partition.checkpoint()
        await partition.close()

    asyncio.run(story())
    archive(place, tmp_path)
    ours = asyncio.run(kept(place, GROUP, 0))
    agree(ours, archived_fold(where, 0, place.partitions or 0, ours.end))
    assert len(ours.runs) > 10


def test_who_is_cut_short_goes_on_in_the_archive(place: Place, tmp_path: Path) -> None:
    """An archive may be months long: what was folded of it is in a checkpoint now and then."""
    asyncio.run(lived(place, traffic_of(place, 72)))
    where = archive(place, tmp_path)

    async def story() -> None:
        end = (await ends_of(place))[0]
        await make_anew(place, "checkpoints")
        await trim(place, end)
        partition = await restored(place, where)
        await partition.checkpoint()
        await partition.close()
        again = await restored(place, where)

        assert again.marker.offset == end
        await again.close()

    asyncio.run(story())
    ours = asyncio.run(kept(place, GROUP, 0))
    agree(ours, archived_fold(where, 0, place.partitions or 0, ours.end))


def test_what_neither_has_is_named_and_can_be_accepted(place: Place, tmp_path: Path) -> None:
    """The archive is folded up to the hole, and what is behind it goes on."""
    traffic = traffic_of(place, 73)
    asyncio.run(fill(place, traffic, 3))
    where = archive(place, tmp_path)
    head = Table.open(where).next_position("events", 0)
    assert head is not None
    asyncio.run(fill(place, traffic, 3))
    asyncio.run(trim(place, head + 120))

    async def stopped(archive: str) -> EventsLost:
        with pytest.raises(EventsLost) as problem:
            await restored(place, Path(archive))
        return problem.value

    problem = asyncio.run(stopped(str(where)))
    nowhere = asyncio.run(stopped(str(tmp_path / "nowhere")))
    first, last = head, head + 119
    accepted = command(
        place, "topics", "accept-loss", "0", str(first), str(last), "--reason", "disk"
    )

    async def goes_on() -> dict[str, bytes]:
        partition = await restored(place, where)
        assert partition.memory.next_offset == last + 1
        runs = {run: dump_run(held) for run, held in partition.memory.state.runs.items()}
        await partition.close()
        return runs

    assert (problem.first, problem.last) == (first, last)
    assert (nowhere.first, nowhere.last) == (0, last)
    assert f"(no archive at {tmp_path}/nowhere" in str(nowhere)
    assert accepted.code == 0
    assert asyncio.run(goes_on()) == archived_fold(where, 0, place.partitions or 0, head).runs


def test_an_archive_and_a_topic_that_disagree_are_not_joined(place: Place, tmp_path: Path) -> None:
    """The topic was made anew since: its offsets are other events."""
    asyncio.run(fill(place, traffic_of(place, 74), 5))
    where = archive(place, tmp_path)

    async def story() -> None:
        await make_anew(place)
        await fill(place, traffic_of(place, 75), 5)
        await trim(place, 100)
        with pytest.raises(LogBroken, match="the archive has another event at offset 100"):
            await restored(place, where)

    asyncio.run(story())


def test_workers_fold_it_and_load_an_archive_only_then(place: Place, tmp_path: Path) -> None:
    """PyArrow is half of a judge's memory: who does not need it does not have it."""
    partitions = place.partitions or 0
    for number in range(partitions):
        asyncio.run(fill(place, Traffic(number, partitions, 76), 5))
    ends = asyncio.run(ends_of(place))
    named = {"LEDGER_ARCHIVE": str(tmp_path / "archive")}

    def judge_all() -> str:
        with working(place, tmp_path / "judge", "judge", **named) as worker:
            worker.said(f"judging 0-{partitions - 1} of {partitions} partitions")
            wait_for(lambda: judged(place, ends), UP_S, what="all to be judged", poll_s=0.3)
            loaded = Path(f"/proc/{worker.process.pid}/maps").read_text()
            assert worker.end() == 0
            assert worker.err == ""
        return loaded

    assert "libarrow" not in judge_all()
    where = archive(place, tmp_path)
    asyncio.run(make_anew(place, "checkpoints"))
    asyncio.run(trim(place, 400))
    ends[0] += 1
    asyncio.run(fill(place, Traffic(0, partitions, 77, "later"), 1))
    assert "libarrow" in judge_all()
    archive(place, tmp_path)
    for number in range(partitions):
        ours = asyncio.run(kept(place, f"{place.prefix}-{GROUP}", number))
        agree(ours, archived_fold(where, number, partitions, ours.end))
