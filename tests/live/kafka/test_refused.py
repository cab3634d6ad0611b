"""Bad input on a real broker: refused with its reason and place, while what is good is judged."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ledger.core.events import Event, RunStarted
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place
from ledger.processors.partition import Partition
from ledger.wire import encode
from tests.live.kafka.calling import command, configure
from tests.live.kafka.conftest import PARTITIONS
from tests.live.kafka.test_take_over import feed, judge

IN_2038 = 2_147_483_648_000


def named(partition: int, count: int = 1, *, of: int = PARTITIONS) -> list[str]:
    """Runs that live in a partition."""
    found = (f"r{number}" for number in range(10_000))
    return [run for run in found if partition_of(run.encode(), of) == partition][:count]


HERE, ELSEWHERE = named(0)[0], named(1)[0]


def started(run: str, **fields: Any) -> bytes:
    """The start of a run, as bytes."""
    event: Event = RunStarted(run=run, agent="lead", source="host-1", seq=1, **fields)
    return encode(event)


async def send(
    place: Place, rows: Sequence[tuple[bytes | None, bytes | None]], at_ms: int | None = None
) -> None:
    """Write records to partition 0, as any publisher might."""
    sender = producer(place)
    await sender.start()
    topic = place.topic("events")
    try:
        sent = [await sender.send(topic, value, key, 0, at_ms) for key, value in rows]
        await asyncio.gather(*sent)
    finally:
        await sender.stop()


def judged(
    place: Place, rows: Sequence[tuple[bytes | None, bytes | None]], at_ms: int | None = None
) -> Partition:
    """The partition after these records were judged."""

    async def story() -> Partition:
        await send(place, rows, at_ms)
        async with judge(place) as partition:
            await feed(place, partition)
            for box in partition.boxes:
                await box.mark()
        return partition

    return asyncio.run(story())


def listed(place: Place, *options: str) -> list[dict[str, Any]]:
    """What `ledger refused --json` says."""
    said = command(place, "refused", "--json", *options)
    assert said.code == 0, said.err
    found: list[dict[str, Any]] = json.loads(said.out)
    return found


FUTURE = b'{"type":"run_started","v":2,"run":"%s","agent":"a"}' % HERE.encode()
BAD = {
    "no text": (HERE, b"\xff\xfe\x00", "Invalid JSON"),
    "no object": (HERE, b"[1, 2]", "the value"),
    "no value": (HERE, None, "it has no value"),
    "wrong schema": (HERE, b'{"type":"run_ended","run":"r","outcome":7}', "outcome"),
    "unknown field": (HERE, b'{"type":"ticked","run":"r","colour":1}', "colour"),
    "unknown type": (HERE, b'{"type":"run_dreamt","run":"r"}', "run_dreamt"),
    "future version": (HERE, FUTURE, "v: Input should be 1"),
    "wrong key": ("somebody", started(HERE), "its key in the log is b'somebody'"),
    "no key": (None, started(HERE), "its key in the log is None"),
    "wrong partition": (ELSEWHERE, started(ELSEWHERE), "belongs to partition 1 of 4"),
    "too large": (HERE, b'{"type":"ticked","run":"%s"}' % (b"x" * 2**21), "bytes are too many"),
}


def test_whatever_comes_in_the_good_is_judged(place: Place) -> None:
    """Invariant 8: bad input stops nobody. Each kind, with its reason and its place."""
    bad = [(None if key is None else key.encode(), value) for key, value, _ in BAD.values()]
    good = (HERE.encode(), started(HERE))
    partition = judged(place, [*bad, good])
    rows = listed(place)[::-1]

    assert partition.memory.state.runs.keys() == {HERE}
    assert partition.refusals.count == len(BAD)
    assert [row["offset"] for row in rows] == list(range(len(BAD)))
    for row, (kind, (_, value, reason)) in zip(rows, BAD.items(), strict=True):
        assert reason in row["reason"], kind
        assert (row["topic"], row["partition"]) == (place.topic("events"), 0), kind
        assert row["size"] == len(value or b""), kind


def test_a_header_without_a_value_stops_nobody(place: Place) -> None:
    """Kafka has them. Nor does one stop who reads the refused topic, where anybody may write."""

    async def story() -> int:
        sender = producer(place)
        await sender.start()
        rows = {"events": [b"no", started(HERE)], "refused": [b""]}
        sent = [(place.topic(short), value) for short, values in rows.items() for value in values]
        for topic, value in sent:
            headers = [("source", None), ("offset", None)]
            await sender.send_and_wait(topic, value, HERE.encode(), 0, headers=headers)
        await sender.stop()
        async with judge(place) as partition:
            await feed(place, partition)
            for box in partition.boxes:
                await box.mark()
        return len(partition.memory.state.runs)

    assert asyncio.run(story()) == 1
    assert [row["source"] for row in listed(place)] == [f"key {HERE}", ""]


def test_one_is_shown_with_its_bytes(place: Place) -> None:
    """For whoever must find out who sends such things."""
    nonsense = b'{"type":"?","source":"host-7"}'
    judged(place, [(b"k", b"\xff\xfe no"), (b"k", nonsense), (b"k", BAD["too large"][1])])
    first, second, third = listed(place)[::-1]
    raw, text = (json.loads(command(place, "refused", str(p), "--json").out) for p in (0, 1))
    drawn = [command(place, "refused", str(position)).out for position in (0, 1, 2)]

    assert (raw["hex"], text["value"]) == ("fffe206e6f", nonsense.decode())
    assert (first["source"], second["source"], third["source"]) == ("key k", "host-7", "key k")
    assert "fffe206e 6f" in drawn[0]
    assert f"{place.topic('events')} partition 0 offset 1" in drawn[1]
    assert nonsense.decode() in drawn[1]
    assert "of which 65,536 were kept" in drawn[2]
    assert [row["pos"] for row in listed(place, "--source", "host-7")] == [1]
    assert [row["pos"] for row in listed(place, "--reason", "BYTES ARE too many")] == [2]
    assert [row["pos"] for row in listed(place, "-n", "1")] == [2]
    assert command(place, "refused", "99").code == 2


def test_the_clock_of_a_sender_is_never_a_runs_clock(place: Place) -> None:
    """A record from 2038 would end every lease at once. The broker stamps its own time; what an
    event claims is data; and where a topic was set otherwise, the record is refused."""
    claims = (HERE.encode(), started(HERE, at_ms=IN_2038))
    partition = judged(place, [claims], IN_2038)
    now_ms = partition.memory.state.runs[HERE].now_ms
    before = listed(place)
    configure(
        place, "events",
        message_timestamp_type="CreateTime", message_timestamp_after_max_ms=str(2**62),
    )  # fmt: skip
    again = judged(place, [(named(0, 2)[1].encode(), started(named(0, 2)[1]))], IN_2038)

    assert now_ms < IN_2038
    assert before == []
    assert again.memory.state.runs.keys() == {HERE}
    (row,) = listed(place)
    assert "2038-01-19 03:14:08 is the sender's clock, not the log's" in row["reason"]


def test_too_many_in_a_row_mute_their_source_and_not_the_worker(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken publisher fills neither the topic nor anybody's screen."""
    monkeypatch.setenv("LEDGER_REFUSED_IN_ROW_MAX", "4")
    bad = (HERE.encode(), b'{"type":"nonsense","source":"host-1"}')
    other = (b"k", b"?")
    good = (HERE.encode(), started(HERE))
    partition = judged(place, [*[bad] * 24, other, good, bad])
    rows = listed(place, "-n", "1000")[::-1]
    findings = [row for row in rows if row["reason"].startswith(("source_muted", "source_heard"))]

    assert partition.memory.state.runs.keys() == {HERE}
    assert (partition.refusals.count, partition.refusals.muted) == (26, 20)
    assert len(rows) == 8
    assert [row["source"] for row in findings] == ["host-1", "host-1"]
    assert "4 records of 'host-1' were refused in a row" in findings[0]["reason"]
    assert "20 refused records were not copied" in findings[1]["reason"]


def test_a_log_that_is_not_there_is_said_at_once(place: Place) -> None:
    said = command(replace(place, prefix="nothing-here"), "refused")

    assert said.code == 2
    assert "nothing-here-refused is missing; create it with `ledger topics apply`" in said.err


@pytest.mark.parametrize("options", [("--json", "--csv"), ("-n", "0"), ("one",)])
def test_wrong_options_are_wrong_use(place: Place, options: tuple[str, ...]) -> None:
    assert command(place, "refused", *options).code == 2
