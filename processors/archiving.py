"""The Faust app of the archivists: `faust -A ledger.processors.archiving worker`.

What a newcomer would get wrong
    `LEDGER_KAFKA` names the log, `LEDGER_ARCHIVE` where the archive is (a folder, or
    `s3://bucket/path` with the AWS_ variables), `LEDGER_ARCHIVE_GROUP` the group.
    `LEDGER_ARCHIVE_KEEP_MS` is how long Kafka keeps what is archived, where not as `topics.toml`
    says. Judges of another group than the default are named here too (`LEDGER_GROUP`): what they
    need is kept.
    As many archivists as there are partitions can share the work; each partition needs one only.
    Archivists and judges are groups of their own: each reads everything.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from faust.types import TP

from ledger.log.kafka_place import Place
from ledger.settings import number, whole
from ledger.topics import wanted

from .archivist import COMMIT_S, Archivist
from .archivist_health import ArchivistHealth
from .base import DEFAULT_WEB_BIND, WorkerApp, for_faust, make, place_from
from .pages import add_pages

GROUP = "archivists"
DEFAULT_ARCHIVE = "ledger-archive"


class ArchivistApp(WorkerApp):
    """A worker that archives; it opens the archive before it reads a topic."""

    role = "archivist"
    archivist: Archivist
    health: ArchivistHealth

    async def prepare(self) -> None:
        """The topics are as they must be, and the archive is open. Raises LedgerError."""
        await super().prepare()
        await self.archivist.open()


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
    keep_ms: int | None = None,
) -> ArchivistApp:
    """A Faust app that archives the log at `place` (default LEDGER_KAFKA) in `archive`.

    `archive` (default LEDGER_ARCHIVE) is a folder or an object store's URL, which gets
    `storage_options`. `keep_ms` (default LEDGER_ARCHIVE_KEEP_MS, else as topics.toml says) is how
    long Kafka keeps what is archived. Its archivist, with all counters, is `app.archivist`.
    Without `web_port` there is no web server. Raises BadPlace where the URL is none,
    BadVariable.
    """
    place = place_from(place)
    archive = archive or os.environ.get("LEDGER_ARCHIVE") or DEFAULT_ARCHIVE
    group = group or os.environ.get("LEDGER_ARCHIVE_GROUP") or GROUP
    if keep_ms is None and os.environ.get("LEDGER_ARCHIVE_KEEP_MS"):
        keep_ms = whole("LEDGER_ARCHIVE_KEEP_MS", 0, least=0)
    every_s = commit_every_s or number("LEDGER_ARCHIVE_COMMIT_S", COMMIT_S, least=0.1)
    topics = wanted(place.prefix, replication=place.replication, partitions=place.partitions)
    app = make(
        ArchivistApp, place, group, session_s=session_s, web_port=web_port, web_bind=web_bind
    )
    app.archivist = archivist = Archivist(
        place, archive, topics, storage_options=storage_options, commit_every_s=every_s,
        keep_ms=keep_ms,
    )  # fmt: skip
    archivist.end = partial(_end, app)
    archivist.settle = partial(_settle, app)
    app.health = ArchivistHealth(archivist)
    add_pages(app, app.health.report, app.health.collect)
    app.feed(archivist, archivist.take, *archivist.logs)
    return app


def _end(app: ArchivistApp, tp: TP) -> int | None:
    """The end of a partition as far as a broker has told the feed, delivered or not."""
    try:
        end: int | None = app.consumer.highwater(tp)
    except Exception:  # The feed has no place for it yet, or no more.
        return None
    return end


async def _settle(app: ArchivistApp, offsets: dict[TP, int]) -> bool:
    """Tell the group, for people who watch the lag; a rebalance may make it deaf."""
    told: bool = await app.consumer.settle(offsets)  # type: ignore[attr-defined]  # It is made late, and is ours.
    return told


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = app = for_faust(create_archivist_app)
    return app
