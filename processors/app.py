"""The Faust app of the judges: `faust -A ledger.processors.app worker`.

What a newcomer would get wrong
    `LEDGER_KAFKA` names the log (`kafka://host:9092/prefix`), `LEDGER_GROUP` the group of judges;
    one log has one group of judges. `LEDGER_ARCHIVE` is where to look for events that Kafka no
    longer has. `app` is made when it is first asked for.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from faust.types import TP

from ledger.core.lifecycle import FOLD_VERSION
from ledger.log import JudgeTooOld
from ledger.log.kafka_asker import Asker
from ledger.log.kafka_identity import KafkaError
from ledger.log.kafka_place import Place
from ledger.log.kafka_start import KafkaUnreachable
from ledger.settings import whole
from ledger.topics import wanted

from .base import DEFAULT_WEB_BIND, WorkerApp, for_faust, make, place_from
from .health import LAG_MAX, Health
from .judge import Judge
from .metrics import of_judges
from .pages import add_pages

GROUP = "judges"


class JudgeApp(WorkerApp):
    """A worker that judges."""

    role = "judge"
    judge: Judge
    health: Health

    async def prepare(self) -> None:
        """The topics are as they must be, and no higher version has judged. Raises LedgerError.

        Who finds that out as a member of the group makes all others stop twice.
        """
        await super().prepare()
        events = self.place.topic("events")
        try:
            async with Asker(self.place) as asker:
                heard = await asker.heard(self.kafka_group, events)
        except (KafkaError, OSError) as problem:
            raise KafkaUnreachable(self.place.bootstrap, repr(problem)) from None
        needed = max((one.version for one in heard.values()), default=0)
        if needed > FOLD_VERSION:
            raise JudgeTooOld(events, version=FOLD_VERSION, needed=needed)


def create_app(
    place: Place | str | None = None,
    *,
    group: str | None = None,
    session_s: float | None = None,
    web_port: int = 0,
    web_bind: str = DEFAULT_WEB_BIND,
    lag_max: int | None = None,
    archive: str | None = None,
) -> JudgeApp:
    """A Faust app that judges the log at `place` (a Place or its URL; default LEDGER_KAFKA).

    Its judge is `app.judge`, and `app.health` says how it is: not well with more than `lag_max`
    events to judge in a partition. Without `web_port` there is no web server.
    `archive` (default LEDGER_ARCHIVE) is read where Kafka no longer has what is to be folded.
    Raises BadPlace where the URL is none, BadVariable where a variable is wrong.
    """
    place = place_from(place)
    group = group or os.environ.get("LEDGER_GROUP") or GROUP
    events = wanted(place.prefix, replication=place.replication, partitions=place.partitions)[
        "events"
    ]
    app = make(JudgeApp, place, group, session_s=session_s, web_port=web_port, web_bind=web_bind)
    archive = archive or os.environ.get("LEDGER_ARCHIVE") or ""
    app.judge = Judge(place, app.kafka_group, events.partitions, archive=archive)
    lag_max = lag_max or whole("LEDGER_LAG_MAX", LAG_MAX)
    app.health = Health(app.judge, events.name, partial(_highwater, app), lag_max)
    add_pages(app, app.health.report, partial(of_judges, app.health))
    app.feed(app.judge, app.judge.judge, events.name)
    return app


def _highwater(app: JudgeApp, tp: TP) -> int:
    return app.consumer.highwater(tp)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = app = for_faust(create_app)
    return app
