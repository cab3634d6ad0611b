"""What the Faust apps of judges and archivists share: looking first, settings, the feed.

What a newcomer would get wrong
    Faust has the worker, the group, the assignment, the agent, the web server. State, offsets
    and checkpoints are the holder's (`judge.py`, `archivist.py`), because Faust's can neither be
    fenced nor keep up (PROTOCOLS 5).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import faust
from faust.types import TP
from yarl import URL

from ledger.errors import LedgerError
from ledger.judge.__main__ import calm_collector
from ledger.log.kafka_asker import may_join
from ledger.log.kafka_place import Place
from ledger.log.kafka_place import place as place_of
from ledger.log.kafka_topics import check
from ledger.settings import number
from ledger.wire import reader

from .holder import Chunk
from .transport import Transport

DEFAULT_URL = "kafka://127.0.0.1:9092"
SESSION_S = 6.0
"""A worker that was silent so long is dead to the group. Brokers allow no less by default
(`group.min.session.timeout.ms`)."""
HEARTBEAT_S = 0.3
"""A worker hears so late that others come or leave, and until all have heard nobody goes on."""
REQUEST_S = 90.0
"""Faust wants no session longer than a request."""
NEVER_S = 1e9
"""aiokafka leaves the group where nothing was fetched for so long, and does not come back before
something is. Who is idle has nothing to fetch: no partition, or none that can be read now."""
LEAVE_S = 30.0
"""A worker that gives up may take so long to settle and to leave its group."""
DEFAULT_WEB_PORT = 6066
DEFAULT_WEB_BIND = "127.0.0.1"
"""Nobody beyond this machine, unless somebody says so."""
CHUNK_RECORDS = 4_000
CHUNKS_WAITING = 2

App = TypeVar("App", bound="WorkerApp")


class WorkerApp(faust.App):
    """A Faust app that looks at the topics before it reads one. `role` is what it calls itself."""

    role: str
    place: Place
    kafka_group: str
    kafka_brokers: list[URL]
    fed: tuple[str, ...]
    _leaving: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Whatever must be right before a topic is read. Raises LedgerError."""
        await check(self.place)
        await may_join(self.place, self.kafka_group, self.fed)

    async def on_first_start(self) -> None:
        """Stop here, with a sentence and no traceback, where a person has to do something."""
        try:
            await self.prepare()
        except LedgerError as problem:
            self.say(problem)
            os._exit(1)  # Nothing is held yet.
        reader()
        calm_collector()
        await super().on_first_start()

    def _create_directories(self) -> None:
        """Make none: Faust keeps nothing here, and a folder would be left over."""

    def say(self, problem: LedgerError) -> None:
        """Tell a person."""
        print(f"ledger {self.role}: {problem}", file=sys.stderr, flush=True)

    def give_up(self, problem: LedgerError) -> None:
        """End the worker with 1, as only a person can help: what it holds others have at once."""
        if self._leaving is None:
            self.say(problem)
            self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        """Settle and leave the group, as SIGTERM does. The exit code is not Faust's business."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await self.stop()
        finally:
            os._exit(1)

    def feed(
        self, holder: Any, take: Callable[[TP, Chunk], Awaitable[object]], *topics: str
    ) -> None:
        """Give every chunk of the topics to `take`, from where `holder` wants to go on."""
        holder.give_up, holder.read_again = self.give_up, self._read_again
        holder.cut_off = self._cut_off
        transport = Transport(self.kafka_brokers, self)
        transport.holder = holder
        self.transport, self.fed = transport, topics
        topic = self.topic(*topics, key_type=bytes, value_type=bytes, value_serializer="raw")

        async def work(chunks: Any) -> None:
            async for event in chunks.events():
                await take(event.message.tp, event.value)

        self.agent(topic, name=f"{self.kafka_group}-agent")(work)

    def _read_again(self, tp: TP) -> None:
        self.consumer.read_again(tp)  # type: ignore[attr-defined]  # It is made late, and is ours.

    def _cut_off(self) -> str:
        return str(self.consumer.cut_off())  # type: ignore[attr-defined]


def place_from(place: Place | str | None) -> Place:
    """`place`, or what its URL (default LEDGER_KAFKA) names. Raises BadPlace."""
    if isinstance(place, Place):
        return place
    return place_of(place or os.environ.get("LEDGER_KAFKA", DEFAULT_URL))


def make(
    kind: type[App],
    place: Place,
    group: str,
    *,
    session_s: float | None,
    web_port: int,
    web_bind: str,
) -> App:
    """An app of this kind for the group `<prefix>-<group>`; without `web_port` no web server."""
    name = f"{place.prefix}-{group}"
    session_s = session_s or number("LEDGER_SESSION_S", SESSION_S, least=1)
    brokers = [URL(f"kafka://{host}") for host in place.bootstrap.split(",")]
    settings = _settings(session_s, web_port, web_bind)
    app = kind(name, broker=brokers, **settings, **_access(place))
    app.place, app.kafka_group, app.kafka_brokers = place, name, brokers
    return app


def for_faust(make: Callable[[], App]) -> App:
    """The app that `faust -A` asks for; where there can be none, a sentence and exit 1."""
    try:
        return make()
    except LedgerError as problem:
        sys.exit(f"ledger: {problem}")


def _settings(session_s: float, web_port: int, web_bind: str) -> dict[str, Any]:
    return {
        "store": "memory://",
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "web_enabled": bool(web_port),
        "web_port": web_port or DEFAULT_WEB_PORT,
        "web_bind": web_bind,
        "web_router_enabled": False,
        "web_tables_enabled": False,
        "value_serializer": "raw",
        "stream_wait_empty": False,
        "stream_buffer_maxsize": CHUNKS_WAITING,
        "broker_max_poll_records": CHUNK_RECORDS,
        "broker_session_timeout": session_s,
        "broker_request_timeout": max(REQUEST_S, 2 * session_s),
        "broker_rebalance_timeout": session_s + 2,
        "broker_max_poll_interval": NEVER_S,
        "broker_heartbeat_interval": min(session_s / 6, HEARTBEAT_S),
        "consumer_max_fetch_size": 2**21,
    }


def _access(place: Place) -> dict[str, Any]:
    """The way in, in Faust's words."""
    given = place.security
    context = given.get("ssl_context")
    if "sasl_mechanism" in given:
        credentials: Any = faust.SASLCredentials(
            mechanism=given["sasl_mechanism"],
            username=given["sasl_plain_username"],
            password=given["sasl_plain_password"],
            ssl_context=context,
        )
    elif context is not None:
        credentials = faust.SSLCredentials(context)
    else:
        return {}
    return {"broker_credentials": credentials}
