"""What a judge is compared with: a plain Faust agent that writes one table row an event.

`python -m faust -A tests.live.kafka.plain worker --without-web` reads the events of the log that
LEDGER_KAFKA names from their beginning, and ends once LEDGER_PLAIN_EVENTS are counted. The last
line it prints is how many it counted in a second.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import faust

from ledger.log.kafka_place import place as place_of

place = place_of(os.environ["LEDGER_KAFKA"])
COUNT = int(os.environ["LEDGER_PLAIN_EVENTS"])
WARM = COUNT // 10

app = faust.App(
    f"{place.prefix}-plain", broker=f"kafka://{place.bootstrap}", store="memory://",
    datadir=Path(tempfile.gettempdir(), f"{place.prefix}-plain"), topic_disable_leader=True,
    topic_partitions=place.partitions, topic_replication_factor=1, web_enabled=False,
)  # fmt: skip
events = app.topic(place.topic("events"), key_type=bytes, value_type=bytes, value_serializer="raw")
seen = app.Table("seen", default=int, key_type=bytes, partitions=place.partitions)


async def count(stream: Any) -> None:
    done, began_s = 0, 0.0
    async for event in stream.events():
        seen[event.key] += 1
        done += 1
        if done == WARM:
            began_s = time.monotonic()
        elif done == COUNT:
            rate = round((COUNT - WARM) / (time.monotonic() - began_s))
            os.write(1, b"%d\n" % rate)  # Faust makes warnings of what is printed.
            os._exit(0)


app.agent(events, name=f"{place.prefix}-count")(count)
