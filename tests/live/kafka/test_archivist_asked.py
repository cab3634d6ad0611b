"""An archive of a log on Kafka answers as that of one file does: views, one run, replay, verify."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from ledger.catalog import Catalog
from ledger.core.verdicts import Verdict
from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.wire import encode_verdict
from tests.live.kafka.archived import archivists, caught_up, compare, counting
from tests.live.kafka.chaos import Workers, ends_of, judged
from tests.live.kafka.traffic import write
from tests.live.kafka.truth import folded
from tests.waiting import wait_for


def recorded(place: Place, folder: Path, where: Path) -> None:
    """Let a fleet write, a judge judge it, another that lost its place go on; archive it all."""
    (folder / "judges").mkdir()
    judges = Workers(place, folder / "judges")
    with archivists(place, folder, where) as workers:
        try:
            judges.start()
            workers.start()
            url = f"kafka://{place.bootstrap}/{place.prefix}?partitions={place.partitions}"
            asyncio.run(write(url, 4.0, 2_000, 7))
            ends = asyncio.run(ends_of(place))
            wait_for(lambda: judged(place, ends), 120, what="all to be judged", poll_s=0.5)
            judges.stop(1)
            asyncio.run(zombie(place))
            caught_up(place, where, workers)
        finally:
            judges.end()


async def zombie(place: Place) -> None:
    """Verdicts and a refusal that were said already, and a verdict of a generation before."""
    async with Reader(place) as reader:
        topic = place.topic("verdicts")
        _, end = await reader.bounds(topic, 0)
        said = [one async for many in reader.read(topic, 0, 0, end) for one in many]
        refused = place.topic("refused")
        _, end = await reader.bounds(refused, 0)
        refusals = [one async for many in reader.read(refused, 0, 0, end) for one in many]
    sender = producer(place)
    await sender.start()
    for record in said[-3:]:
        await sender.send_and_wait(topic, record.value, record.key, partition=0)
    old = encode_verdict(Verdict(10**9, "t-0-1", decision="allow"))
    await sender.send_and_wait(topic, old, b"t-0-1", partition=0)
    await sender.send_and_wait(topic, b"no verdict", b"t-0-1", partition=0)
    for record in refusals[:2]:
        await sender.send_and_wait(
            refused, record.value, record.key, partition=0, headers=list(record.headers)
        )
    await sender.stop()


def cli(where: Path, *words: str) -> tuple[int, str]:
    """`ledger` on the archive alone: its exit code and what it printed."""
    command = [sys.executable, "-m", "ledger.cli", "--archive", str(where), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=where.parent)
    return done.returncode, done.stdout + done.stderr


def test_what_counts_is_shown_once_and_replays_equal(place: Place, tmp_path: Path) -> None:
    """Workers that die leave verdicts that do not count; nobody who asks need know that."""
    where = tmp_path / "archive"
    recorded(place, tmp_path, where)
    asyncio.run(compare(place, where))
    said: set[tuple[int, int, int]] = set()
    refused: set[tuple[int, int]] = set()
    for number in range(place.partitions or 0):
        said |= {(number, *one) for one in asyncio.run(counting(place, number))}
        ends = asyncio.run(ends_of(place))
        truth = asyncio.run(folded(place, number, len(ends), ends[number]))
        refused |= {(number, offset) for offset in truth.refused}
    with Catalog(where) as catalog:
        shown = catalog.sql('select "partition", pos, "offset" from verdicts').to_pylist()
        threw = catalog.sql('select "partition", "offset" from refused').to_pylist()
        of_events = catalog.sql(
            'select "partition", "offset" from events where refused is not null'
        ).to_pylist()
        run = catalog.sql("select run from runs order by tool_calls desc limit 1").to_pylist()

    assert len(shown) == len(said) > 100
    assert {(one["partition"], one["pos"], one["offset"]) for one in shown} == said
    assert len(threw) == len(refused) > 0
    assert {(one["partition"], one["offset"]) for one in threw} == refused
    assert {(one["partition"], one["offset"]) for one in of_events} == refused
    check_replays(where, run[0]["run"], len(said))


def check_replays(where: Path, run: str, verdicts: int) -> None:
    """All runs, one run, and the proof."""
    code, text = cli(where, "replay", "--all", "--json")
    found = json.loads(text)

    assert (code, found["equal"], found["differences"]) == (0, True, 0)
    assert found["compared"] == verdicts
    assert found["headless"] == 0
    code, text = cli(where, "replay", run)
    assert code == 0
    assert "all equal" in text
    code, text = cli(where, "archive", "verify")
    assert code == 0, text
    assert text.strip().endswith("whole")
