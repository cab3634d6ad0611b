"""What the batch transport relies on in Faust and aiokafka is still there, and does the same.

None of it is promised by either. An upgrade that changes it shall fail here, with the name of
what changed, and not as a lost event in a fleet.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("faust", reason="install coordination-ledger[kafka] for what runs on Kafka")

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator, OffsetCommitRequest
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.app.base import App
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.threads import ServiceThread

from ledger.errors import LedgerError
from ledger.log.kafka_place import Place
from ledger.processors.app import JudgeApp, create_app
from ledger.processors.base import NEVER_S
from ledger.processors.holder import CUT_OFF, NO_MEMBER
from ledger.processors.thread import NO_GENERATION, ConsumerThread, given_up, lighten
from ledger.processors.transport import Consumer

EVENTS = TP("ledger-events", 0)

CALLED: list[tuple[Any, str]] = [
    (driver.Consumer.getmany, "self timeout"),
    (driver.Consumer._getmany, "self active_partitions timeout"),
    (driver.Consumer._wait_next_records, "self timeout"),
    (driver.Consumer.perform_seek, "self"),
    (driver.Consumer.commit, "self topics start_new_transaction"),
    (driver.Consumer.ack, "self message"),
    (driver.Consumer.on_buffer_full, "self tp"),
    (driver.Consumer.verify_event_path, "self now tp"),
    (driver.Consumer.on_partitions_revoked, "self revoked"),
    (driver.Consumer.on_partitions_assigned, "self assigned generation_id"),
    (driver.Consumer.on_stop, "self"),
    (driver.Consumer.stop_flow, "self"),
    (driver.Consumer.highwater, "self tp"),
    (driver.Consumer._new_consumer_thread, "self"),
    (driver.AIOKafkaConsumerThread._create_worker_consumer, "self transport"),
    (driver.AIOKafkaConsumerThread._ensure_consumer, "self"),
    (driver.AIOKafkaConsumerThread.call_thread, "self fun args kwargs"),
    (driver.AIOKafkaConsumerThread._serve, "self"),
    (driver.AIOKafkaConsumerThread._gather_remaining_tasks, "self"),
    (
        driver.AIOKafkaConsumerThread._fetch_records,
        "self consumer active_partitions timeout max_records",
    ),
    (App._create_directories, "self"),
    (AIOKafkaConsumer.seek, "self partition offset"),
    (driver.AIOKafkaConsumerThread.on_start, "self"),
    (Fetcher._proc_fetch_request, "self assignment node_id request"),
    (PartitionRecords._consumer_record, "self tp record"),
    (FetchResult.getall, "self max_records"),
    (FetchResult.check_assignment, "self tp"),
    (FetchResult.has_more, "self"),
    (FetchResult._update_position, "self"),
]


@pytest.fixture
def app() -> JudgeApp:
    """An app that was never started."""
    return create_app(Place("127.0.0.1:1", partitions=4, replication=1))


@pytest.mark.parametrize(
    ("function", "names"), CALLED, ids=lambda one: getattr(one, "__name__", "")
)
def test_what_is_overridden_or_called_has_the_same_arguments(
    function: Callable[..., Any], names: str
) -> None:
    """An override of a method that nobody calls any more would look like a working one."""
    assert " ".join(inspect.signature(function).parameters) == names


def message(app: App, offset: int) -> Any:
    """A message as Faust's driver makes one."""
    fields = (EVENTS.topic, EVENTS.partition, offset, 0.0, 1, None, None, [offset], None, 0, 0)
    return ConsumerMessage(*fields, EVENTS, generation_id=app.consumer_generation_id)  # type: ignore[arg-type]


async def drained(app: App, offsets: list[int], *, clear: bool) -> list[int]:
    """What Faust's own loop delivers of messages with these offsets."""
    got: list[int] = []
    consumer = driver.Consumer(
        app.transport, callback=_nothing, on_partitions_revoked=_nothing,
        on_partitions_assigned=_nothing,
    )  # fmt: skip
    consumer._thread.thread_loop.close()  # Of a thread that never starts.

    async def deliver(what: Any) -> None:
        got.append(what.offset)

    async def getmany(timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109
        for offset in offsets:
            if clear:
                consumer._read_offset[EVENTS] = None
            yield EVENTS, message(app, offset)
        consumer._stopped.set()

    consumer.callback = deliver
    consumer.getmany = getmany  # type: ignore[method-assign]
    await consumer._drain_messages(consumer)
    return got


async def _nothing(*_: Any) -> None: ...


def test_the_loop_drops_what_is_lower_than_it_remembers(app: JudgeApp) -> None:
    """The reason to clear `_read_offset`: a chunk read again is lower, and must come through."""
    assert asyncio.run(drained(app, [10, 5, 11], clear=False)) == [10, 11]


def test_the_loop_delivers_all_once_its_memory_is_cleared(app: JudgeApp) -> None:
    assert asyncio.run(drained(app, [10, 5, 11], clear=True)) == [10, 5, 11]


def test_faust_makes_our_consumer_with_our_thread(app: JudgeApp) -> None:
    async def made() -> tuple[Any, Any]:
        return app.consumer, app.consumer._thread  # type: ignore[attr-defined]

    consumer, thread = asyncio.run(made())

    assert type(consumer) is Consumer
    assert type(thread) is ConsumerThread
    assert consumer.holder is app.judge


def test_the_consumer_runs_on_the_loop_of_the_app(app: JudgeApp) -> None:
    """Two threads would take the interpreter from each other at every fetch."""

    async def made() -> Any:
        return app.consumer._thread  # type: ignore[attr-defined]

    thread = asyncio.run(made())

    assert thread.thread_loop is thread.parent_loop is app.loop
    assert "self.Worker(self)" in inspect.getsource(ServiceThread.start)
    assert "_gather_remaining_tasks()" in inspect.getsource(ServiceThread._serve)


def test_the_fields_that_the_thread_sets_are_read_when_aiokafka_starts() -> None:
    """Else a fetch waits 1.5 s, and a position out of range is silently another one."""
    start = inspect.getsource(AIOKafkaConsumer.start)

    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in start
    assert "auto_offset_reset=self._auto_offset_reset" in start


def test_a_fetch_follows_the_position_and_moves_it() -> None:
    """The beginning of a chunk is the position right before its fetch."""
    result = inspect.getsource(Fetcher.fetched_records)

    assert "res_or_error.getall(max_records)" in result
    assert isinstance(inspect.getattr_static(TopicPartitionState, "position"), property)
    assert isinstance(inspect.getattr_static(TopicPartitionState, "has_valid_position"), property)


def fetched() -> PartitionRecords:
    """Two records, as they come from a broker."""
    batch = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 10_000)
    for place, key in enumerate((b"a", None)):
        assert batch.append(place, 1_700, key, b"{}", [("source", b"s")]) is not None
    records = MemoryRecords(bytes(batch.build()))
    return PartitionRecords(EVENTS, records, [], 0, None, None, True, 0)


def test_what_is_fetched_has_all_that_a_holder_reads() -> None:
    """Records are handed out as they were parsed: a field that they lack ends every worker."""

    class Fetching:
        def __init__(self) -> None:
            self._records: dict[TP, Any] = {}

        async def _proc_fetch_request(self, *_: Any) -> bool:
            self._records[EVENTS] = FetchResult(
                EVENTS, assignment=None, partition_records=fetched(), backoff=0
            )
            return True

    fetcher = Fetching()
    lighten(fetcher)

    assert asyncio.run(fetcher._proc_fetch_request(None, 0, None))
    plain, light = list(fetched()), list(fetcher._records[EVENTS]._partition_records)
    names = ("offset", "timestamp", "timestamp_type", "key", "value")
    assert type(light[0]) is not type(plain[0])
    for name in names:
        assert [getattr(one, name) for one in light] == [getattr(one, name) for one in plain]
    assert [dict(one.headers) for one in light] == [{"source": b"s"}] * 2


def test_what_is_fetched_is_put_where_it_is_lightened() -> None:
    fetch = inspect.getsource(Fetcher._proc_fetch_request)

    assert "self._records[tp] = FetchResult(" in fetch
    assert "self._proc_fetch_request(" in inspect.getsource(Fetcher._fetch_requests_routine)
    assert "self._consumer_record(" in inspect.getsource(PartitionRecords._unpack_records)


def test_who_left_the_group_has_no_generation() -> None:
    """It tells partitions that are asked back from those that others already have."""
    assert OffsetCommitRequest.DEFAULT_GENERATION_ID == NO_GENERATION
    assert "DEFAULT_GENERATION_ID" in inspect.getsource(GroupCoordinator.reset_generation)


def test_a_group_whose_broker_is_gone_has_no_coordinator() -> None:
    """It is how `/health` knows; the fetcher tries again for ever, and says nothing."""
    assert "self.coordinator_dead()" in inspect.getsource(GroupCoordinator._send_req)
    assert "self.coordinator_id = None" in inspect.getsource(GroupCoordinator.coordinator_dead)
    assert "self._coordinator = None" in inspect.getsource(AIOKafkaConsumer.__init__)


def test_who_is_idle_stays_in_the_group(app: JudgeApp) -> None:
    """aiokafka takes who fetches nothing for dead, and lets nobody back who still does not."""

    async def made() -> Any:
        return app.consumer._thread._create_worker_consumer(app.transport)  # type: ignore[attr-defined]

    consumer = asyncio.run(made())
    consumer._closed = True  # It was never started.
    rejoin = inspect.getsource(GroupCoordinator.ensure_active_group)

    assert consumer._max_poll_interval_ms == NEVER_S * 1_000
    assert consumer._rebalance_timeout_ms < 60_000  # Brokers hear this one, and not the other.
    assert "idle_time >= self._max_poll_interval" in rejoin
    assert "idle_time < self._max_poll_interval" in inspect.getsource(
        GroupCoordinator._heartbeat_routine
    )


def test_who_is_no_member_of_the_group_says_so(app: JudgeApp) -> None:
    """Held partitions and no lag would look well."""

    class Member:
        coordinator_id: int | None = None
        generation = NO_GENERATION

    async def told() -> list[str]:
        thread, member = app.consumer._thread, Member()  # type: ignore[attr-defined]
        said = [thread.cut_off()]
        thread._consumer = SimpleNamespace(_coordinator=member)
        said.append(thread.cut_off())
        member.coordinator_id = 1
        said.append(thread.cut_off())
        app.judge.joined = True
        assert app.health.problems() == [NO_MEMBER]
        member.generation = 1
        return [*said, thread.cut_off()]

    assert asyncio.run(told()) == [CUT_OFF, CUT_OFF, NO_MEMBER, ""]


@pytest.mark.parametrize("ends", ["group", "coordination", "fetching"])
def test_what_aiokafka_gives_up_ends_the_worker(
    app: JudgeApp, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would tell whoever asks it for records, as Faust does not; nothing more would come."""
    said: list[LedgerError] = []
    monkeypatch.setattr(app, "give_up", said.append)

    async def fails() -> None:
        raise KafkaError("unexpected")

    async def story() -> None:
        thread = app.consumer._thread  # type: ignore[attr-defined]
        fine, failed = asyncio.create_task(asyncio.Event().wait()), asyncio.create_task(fails())
        await asyncio.wait([failed])
        member = SimpleNamespace(_pending_exception=None, _coordination_task=fine)
        fetcher = SimpleNamespace(_fetch_task=fine)
        one = SimpleNamespace(_closed=False, _coordinator=member, _fetcher=fetcher)
        thread._consumer = one
        assert given_up(one) is None
        if ends == "group":
            member._pending_exception = GroupAuthorizationFailedError("judges")
        elif ends == "coordination":
            member._coordination_task = failed
        else:
            fetcher._fetch_task = failed
        await thread.listen()
        one._closed = True
        assert given_up(one) is None

    asyncio.run(story())

    what = "nobody lacks a right to group judges" if ends == "group" else "unexpected"
    assert len(said) == 1
    assert what in str(said[0])


def test_aiokafka_says_what_it_gives_up_where_it_is_looked_for() -> None:
    """An error that is kept elsewhere leaves a worker that is in no group, and well."""
    for name in ("_pending_exception", "_coordination_task"):
        assert f"self.{name} = " in inspect.getsource(GroupCoordinator.__init__)
    push = inspect.getsource(GroupCoordinator._push_error_to_user)
    assert "self._pending_exception = exc" in push
    assert "self._error_consumed_fut" in push
    assert "self._fetch_task = create_task(" in inspect.getsource(Fetcher.__init__)
    stop = inspect.getsource(AIOKafkaConsumer.stop)
    assert stop.index("self._closed = True") < stop.index("self._coordinator.close()")
    assert "check_errors" not in inspect.getsource(driver)


def test_stopping_ends_the_flow_before_the_consumer() -> None:
    """`stopping` settles while the thread is there and nothing more is delivered."""
    stop = inspect.getsource(App._stop_consumer)

    assert stop.index("stop_flow()") < stop.index("_stop_fetcher()")
    assert "_stop_consumer()" in inspect.getsource(App.on_stop)


def test_no_folder_is_made(app: JudgeApp) -> None:
    """Whoever looks at a machine after `kill -9` finds nothing that asks to be explained."""
    app._create_directories()

    assert not app.conf.datadir.exists()
    assert "_create_directories()" in inspect.getsource(App.on_first_start)


def test_streams_wait_for_nothing_at_a_rebalance(app: JudgeApp) -> None:
    """Nothing is acknowledged, so waiting for that would hold up every rebalance."""
    assert not app.conf.stream_wait_empty
    assert "stream_wait_empty" in inspect.getsource(App._consumer_wait_empty)
