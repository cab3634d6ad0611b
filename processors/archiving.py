"""The Faust app of the archivists: `faust -A ledger.processors.archiving worker`.

What a newcomer would get wrong
    `LEDGER_KAFKA` names the log, `LEDGER_ARCHIVE` where the archive is (a folder, or
    `s3://bucket/path` with the AWS_ variables), `LEDGER_ARCHIVE_GROUP` the group.
    As many archivists as there are partitions can share the work; each partition needs one only.
    Archivists and judges are groups of their own: each reads everything.
"""

from __future__ import annotations

import os
import sys
from functools import partial
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

from .app import DEFAULT_URL, DEFAULT_WEB_BIND, SESSION_S, _access, _settings
from .archivist import COMMIT_S, Archivist
from .archivist_health import ArchivistHealth
from .pages import add_pages
from .transport import Transport

GROUP = "archivists"
DEFAULT_ARCHIVE = "ledger-archive"


class ArchivistApp(faust.App):
    """A Faust app that looks at the topics, and opens the archive, before it reads a topic."""

    place: Place
    archivist: Archivist
    health: ArchivistHealth

    async def on_first_start(self) -> None:
        """Stop here, with a sentence and no traceback, where a person has to do something."""
        try:
            await check(self.place)
            await self.archivist.open()
        except LedgerError as problem:
            self.give_up(problem)
        reader()
        calm_collector()
        await super().on_first_start()

    def give_up(self, problem: LedgerError) -> None:
        """End the worker: only a person can help."""
        print(f"ledger archivist: {problem}", file=sys.stderr, flush=True)
        sys.stderr.flush()
        os._exit(1)


def create_archivist_app(
    place: Place | str | None = None,
    archive: str | None = None,
    *,
    group: str | None = None,
    storage_options: dict[str, str] | None = None,
    session_s: float | None = None,
    web_port: int = 0,
    web_bind: str = DEFAULT_WEB_BIND,
    commit_every_s: float | None = None,
) -> ArchivistApp:
    """A Faust app that archives the log at `place` (default LEDGER_KAFKA) in `archive`.

    `archive` (default LEDGER_ARCHIVE) is a folder or an object store's URL, which gets
    `storage_options`. Its archivist, with all counters, is `app.archivist`. Without `web_port`
    there is no web server. Raises BadPlace where the URL is none.
    """
    if not isinstance(place, Place):
        place = place_of(place or os.environ.get("LEDGER_KAFKA", DEFAULT_URL))
    archive = archive or os.environ.get("LEDGER_ARCHIVE") or DEFAULT_ARCHIVE
    group = group or os.environ.get("LEDGER_ARCHIVE_GROUP") or GROUP
    session_s = session_s or float(os.environ.get("LEDGER_SESSION_S") or SESSION_S)
    every_s = commit_every_s or float(os.environ.get("LEDGER_ARCHIVE_COMMIT_S") or COMMIT_S)
    topics = wanted(place.prefix, replication=place.replication, partitions=place.partitions)
    brokers = [URL(f"kafka://{host}") for host in place.bootstrap.split(",")]
    name = f"{place.prefix}-{group}"
    settings = _settings(name, session_s, web_port, web_bind)
    app = ArchivistApp(name, broker=brokers, **settings, **_access(place))
    app.place = place
    app.archivist = archivist = Archivist(
        place, archive, topics, storage_options=storage_options, commit_every_s=every_s
    )
    archivist.give_up = app.give_up
    archivist.read_again = partial(_read_again, app)
    archivist.end = partial(_end, app)
    archivist.settle = partial(_settle, app)
    app.health = ArchivistHealth(archivist)
    add_pages(app, app.health.report, app.health.collect)
    transport = Transport(brokers, app)
    transport.holder = archivist
    app.transport = transport
    topic = app.topic(*archivist.logs, key_type=bytes, value_type=bytes, value_serializer="raw")

    async def archive_chunks(chunks: Any) -> None:
        async for event in chunks.events():
            await archivist.take(event.message.tp, event.value)

    app.agent(topic, name=f"{name}-agent")(archive_chunks)
    return app


def _read_again(app: ArchivistApp, tp: TP) -> None:
    app.consumer.read_again(tp)  # type: ignore[attr-defined]  # It is made late, and is ours.


def _end(app: ArchivistApp, tp: TP) -> int | None:
    """The end of a partition as far as the feed has seen."""
    return app.monitor.tp_end_offsets.get(tp)


async def _settle(app: ArchivistApp, offsets: dict[TP, int]) -> bool:
    """Tell the group, for people who watch the lag; a rebalance may make it deaf."""
    told: bool = await app.consumer.settle(offsets)  # type: ignore[attr-defined]  # As above.
    return told


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = app = create_archivist_app()
    return app
