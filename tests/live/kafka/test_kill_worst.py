"""A kill stops clients when things are worst: a long backlog, no judge, a group that rebalances."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import ledger
from ledger.log.kafka_place import Place
from tests.live.kafka.chaos import Workers, compare, ends_of, judged, url_of
from tests.live.kafka.clients import line_of, process, refusals, told
from tests.live.kafka.test_brokers import a_run_of_each
from tests.live.kafka.test_take_over import fill
from tests.live.kafka.traffic import Traffic
from tests.live.kafka.workers import UP_S, members
from tests.waiting import wait_for

BACKLOG = 50_000
CLIENTS = 2
SPIN = "tests.live.test_client.spin"
BATCHES = BACKLOG // 100


def test_a_backlog_without_a_judge_holds_up_no_kill(place: Place, tmp_path: Path) -> None:
    """The order overtakes all that nobody has judged; once somebody does, it has its place."""
    run_id = a_run_of_each()[0]
    with ledger.connect(url_of(place)) as led, led.run("r", run=run_id) as run:
        led.flush(60)
        asyncio.run(fill(place, Traffic(0, place.partitions or 0, seed=41), BATCHES))
        killed_at = killed(led, run, url_of(place))
    workers = Workers(place, tmp_path)
    try:
        workers.start()
        ends = asyncio.run(ends_of(place))
        wait_for(lambda: judged(place, ends), UP_S, what="all to be judged", poll_s=0.5)
        workers.stop(1)
    finally:
        workers.end()
    with ledger.connect(url_of(place)) as led:
        assert killed_at >= BACKLOG
        assert refusals(led.log, run_id) == []
        assert not [one for one in told(led.log, run_id) if one.lease is not None]
    asyncio.run(compare(place, ends))


def test_a_rebalance_holds_up_no_kill(place: Place, tmp_path: Path) -> None:
    """One judge is frozen, another has come, and the group waits for the first."""
    workers = Workers(place, tmp_path, LEDGER_SESSION_S="20")
    run_id = a_run_of_each()[0]
    try:
        workers.start()
        wait_for(lambda: members(place, "judges"), UP_S, what="a judge", poll_s=0.2)
        with ledger.connect(url_of(place)) as led, led.run("r", run=run_id) as run:
            led.flush(60)
            workers.freeze(1)
            workers.start()
            wait_for(lambda: len(members(place, "judges")) == 2, UP_S, what="two", poll_s=0.2)
            killed(led, run, url_of(place))
        workers.thaw(1)
        ends = asyncio.run(ends_of(place))
        wait_for(lambda: judged(place, ends), UP_S, what="all to be judged", poll_s=0.5)
    finally:
        workers.end()
    asyncio.run(compare(place, ends))


def killed(led: ledger.Ledger, run: ledger.Run, url: str) -> int:
    """Kill a run in which processes compute; all stop. The order's offset."""
    with ExitStack() as stack:
        started = [stack.enter_context(process(SPIN, url, who=run)) for _ in range(CLIENTS)]
        for one in started:
            assert line_of(one) == "ready"
        receipt = led.kill(run.id, reason="enough", wait_s=0.0)
        for one in started:
            assert line_of(one).split()[1] == "lead"
            assert one.wait(UP_S) == 0
    return receipt.offset
