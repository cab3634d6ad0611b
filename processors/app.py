"""The Faust app of the judges: `faust -A ledger.processors.app worker`.

What a newcomer would get wrong
    `LEDGER_KAFKA` names the log (`kafka://host:9092/prefix`), `LEDGER_GROUP` the group of judges;
    one log has one group of judges. `app` is made when it is first asked for.
    Faust has the worker, the group, the assignment, the agent, the web server. State, offsets
    and checkpoints are the judge's (`judge.py`), because Faust's can neither be fenced nor keep
    up (PROTOCOLS 5).
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import faust
from faust.types import TP
from yarl import URL

from ledger.errors import LedgerError
from ledger.judge.__main__ import calm_collector
from ledger.log.kafka_place import Place
from ledger.log.kafka_place import place as place_of
from ledger.log.kafka_topics import check
from ledger.topics import wanted
from ledger.wire import reader

from .health import LAG_MAX, Health
from .judge import Judge
from .metrics import of_judges
from .pages import add_pages
from .transport import Transport

GROUP = "judges"
DEFAULT_URL = "kafka://127.0.0.1:9092"
SESSION_S = 6.0
"""A worker that was silent so long is dead to the group. Brokers allow no less by default
(`group.min.session.timeout.ms`)."""
REQUEST_S = 90.0
"""Faust wants no session longer than a request."""
DEFAULT_WEB_PORT = 6066
DEFAULT_WEB_BIND = "127.0.0.1"
"""Nobody beyond this machine, unless somebody says so."""
CHUNK_RECORDS = 2_000
CHUNKS_WAITING = 2


class JudgeApp(faust.App):
    """A Faust app that looks at the topics before it reads one."""

    place: Place
    judge: Judge
    health: Health

    async def on_first_start(self) -> None:
        """Stop here, with a sentence and no traceback, where a topic is not as it must be."""
        try:
            await check(self.place)
        except LedgerError as problem:
            self.give_up(problem)
        reader()
        calm_collector()
        await super().on_first_start()

    def give_up(self, problem: LedgerError) -> None:
        """End the worker: only a person can help."""
        print(f"ledger judge: {problem}", file=sys.stderr, flush=True)
        sys.stderr.flush()
        os._exit(1)


def create_app(
    place: Place | str | None = None,
    *,
    group: str | None = None,
    session_s: float | None = None,
    web_port: int = 0,
    web_bind: str = DEFAULT_WEB_BIND,
    lag_max: int | None = None,
) -> JudgeApp:
    """A Faust app that judges the log at `place` (a Place or its URL; default LEDGER_KAFKA).

    Its judge is `app.judge`, and `app.health` says how it is: not well with more than `lag_max`
    events to judge in a partition. Without `web_port` there is no web server.
    Raises BadPlace where the URL is none.
    """
    if not isinstance(place, Place):
        place = place_of(place or os.environ.get("LEDGER_KAFKA", DEFAULT_URL))
    group = group or os.environ.get("LEDGER_GROUP") or GROUP
    session_s = session_s or float(os.environ.get("LEDGER_SESSION_S") or SESSION_S)
    topics = wanted(place.prefix, replication=place.replication, partitions=place.partitions)
    events = topics["events"]
    brokers = [URL(f"kafka://{host}") for host in place.bootstrap.split(",")]
    name = f"{place.prefix}-{group}"
    settings = _settings(name, session_s, web_port, web_bind)
    app = JudgeApp(name, broker=brokers, **settings, **_access(place))
    app.place, app.judge = place, Judge(place, name, events.partitions)
    lag_max = lag_max or int(os.environ.get("LEDGER_LAG_MAX") or LAG_MAX)
    app.health = Health(app.judge, events.name, partial(_highwater, app), lag_max)
    add_pages(app, app.health.report, partial(of_judges, app.health))
    app.judge.give_up = app.give_up
    app.judge.read_again = partial(_read_again, app)
    transport = Transport(brokers, app)
    transport.holder = app.judge
    app.transport = transport
    topic = app.topic(events.name, key_type=bytes, value_type=bytes, value_serializer="raw")

    async def judge(chunks: Any) -> None:
        async for event in chunks.events():
            await app.judge.judge(event.message.tp, event.value)

    app.agent(topic, name=f"{name}-agent")(judge)
    return app


def _read_again(app: JudgeApp, tp: TP) -> None:
    app.consumer.read_again(tp)  # type: ignore[attr-defined]  # It is made late, and is ours.


def _highwater(app: JudgeApp, tp: TP) -> int:
    return app.consumer.highwater(tp)


def _settings(name: str, session_s: float, web_port: int, web_bind: str) -> dict[str, Any]:
    return {
        "store": "memory://",
        "datadir": Path(tempfile.gettempdir(), f"{name}-faust"),
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
        "broker_heartbeat_interval": session_s / 6,
        "consumer_max_fetch_size": 2**20,
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


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = app = create_app()
    return app
