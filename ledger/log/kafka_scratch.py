"""Topics of somebody's own on brokers that others use too: made for a while, then removed.

What a newcomer would get wrong
    Only what was made here under a name that nobody else has may be removed; the topics of a
    ledger never are (`kafka_topics`).
"""

from __future__ import annotations

import os
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ledger.log.kafka_place import Place, place
from ledger.log.kafka_start import start, unreachable
from ledger.log.kafka_topics import apply
from ledger.topics import wanted

PARTITIONS = 4
REPLICATION_MAX = 3


async def make(url: str, name: str) -> str:
    """Make a log of its own on the brokers of `url`; its URL. Its prefix begins with `name`.

    The number of replicas is that of `url`, or as many as there are brokers, at most three.
    Raises BadPlace, KafkaUnreachable, TopicsWrong.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    options.setdefault("partitions", str(PARTITIONS))
    if "replication" not in options:
        brokers = await _brokers(place(url))
        options["replication"] = str(min(REPLICATION_MAX, brokers))
    prefix = f"{name}-{time.time_ns() // 1_000_000:x}-{os.getpid():x}"
    made = parts._replace(path=f"/{prefix}", query=urlencode(options, safe="/")).geturl()
    await apply(place(made))
    return made


async def remove(url: str) -> None:
    """Remove the topics of a log that `make` made. Raises KafkaUnreachable."""
    where = place(url)
    topics = wanted(where.prefix, replication=where.replication, partitions=where.partitions)
    admin = AIOKafkaAdminClient(**where.client())
    try:
        await start(admin, where)
        await admin.delete_topics([topic.name for topic in topics.values()])
    except (KafkaError, OSError) as problem:
        raise unreachable(where, problem) from None
    finally:
        await admin.close()


async def _brokers(where: Place) -> int:
    admin = AIOKafkaAdminClient(**where.client())
    try:
        await start(admin, where)
        return len((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError) as problem:
        raise unreachable(where, problem) from None
    finally:
        await admin.close()
