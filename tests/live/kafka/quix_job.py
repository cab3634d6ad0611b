"""The judge's job in Quix Streams: the same fold, with its state as Quix keeps state.

`python -m tests.live.kafka.quix_job` reads the log that LEDGER_KAFKA names from its beginning,
and prints how many of LEDGER_QUIX_EVENTS it did in a second. LEDGER_QUIX is a folder with
`quixstreams`, which is no dependency of ours.

What a newcomer would get wrong
    The fold runs in memory, as ours does, so that no time goes into another program's fold. What
    can be recovered is one JSON object a run with its agents in it, read and written an event:
    Quix has state by key, and its changelog is what a worker restores from.
"""

import importlib
import os
import sys
import tempfile
import time
from typing import Any

from ledger.core.events import AgentEnded, Event, Record
from ledger.core.fold import fold
from ledger.core.state import State
from ledger.log.kafka_place import place as place_of
from ledger.wire import encode_verdict, reader

COUNT = int(os.environ.get("LEDGER_QUIX_EVENTS", "0"))


def main() -> None:
    sys.path.append(os.environ["LEDGER_QUIX"])
    quix: Any = importlib.import_module("quixstreams")
    place = place_of(os.environ["LEDGER_KAFKA"])
    app = quix.Application(
        place.bootstrap, consumer_group=f"{place.prefix}-quix", auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(prefix="quix-"), loglevel="ERROR",
    )  # fmt: skip
    topic = app.topic(
        place.topic("events"), key_deserializer="bytes", value_deserializer="bytes",

    )  # fmt: skip
    said = app.topic(place.topic("quix"), key_serializer="bytes", value_serializer="bytes")
    frame = app.dataframe(topic)
    job = Job(quix.message_context)
    frame = frame.apply(job.judge, stateful=True, metadata=True)
    frame.filter(lambda verdict: verdict is not None).to_topic(said)
    app.run()


class Job:
    """Judges records one by one."""

    def __init__(self, context: Any) -> None:
        self._context, self._read = context, reader()
        self._states: dict[int, State] = {}
        self._done, self._began_s = 0, 0.0

    def judge(
        self, value: bytes, key: bytes, timestamp: int, headers: Any, state: Any
    ) -> bytes | None:
        """Fold one record; its verdict."""
        self._done += 1
        if self._done == 1:
            self._began_s = time.monotonic()
        where = self._context()
        event = self._read(value)
        if where.partition not in self._states:
            self._states[where.partition] = State(where.partition)
        verdict = fold(self._states[where.partition], Record(where.offset, timestamp, event))
        held = state.get("run") or {}
        _note(held, event, where.offset)
        state.set("run", held)
        if self._done == COUNT:
            os.write(1, b"%d\n" % round(COUNT / (time.monotonic() - self._began_s)))
            os._exit(0)
        return None if verdict is None else encode_verdict(verdict)


def _note(held: dict[str, Any], event: Event, offset: int) -> None:
    """The least that a judge has to know of an agent."""
    agent = held.setdefault(
        event.agent,
        {"parent": getattr(event, "parent", ""), "source": event.source, "status": "live",
         "acts": 0, "tokens_reserved": 0, "tokens_spent": 0, "microdollars_spent": 0, "steps": []},
    )  # fmt: skip
    agent["acts"] += 1
    agent["tokens_reserved"] += getattr(event, "tokens_estimate", 0)
    agent["tokens_spent"] += getattr(event, "output_tokens", 0)
    agent["microdollars_spent"] += getattr(event, "cost_microdollars", 0)
    agent["steps"] = [*agent["steps"][-3:], offset]
    if isinstance(event, AgentEnded):
        agent["status"] = "ended"


if __name__ == "__main__":
    main()
