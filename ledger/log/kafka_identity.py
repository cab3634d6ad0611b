"""Which log this is: the cluster and the prefix, so that an archive takes no other log's records.

What a newcomer would get wrong
    An address is no identity: another cluster may answer there tomorrow. The id that a cluster
    gave itself when it was formatted stays. Topics made anew under the same names are noticed by
    what is in them.
"""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ledger.log.kafka_place import Place
from ledger.log.kafka_start import start, unreachable

__all__ = ["KafkaError", "log_id"]


async def log_id(place: Place) -> str:
    """The id of the log at this place. Raises KafkaUnreachable."""
    admin = AIOKafkaAdminClient(**place.client())
    try:
        await start(admin, place)
        cluster = await admin.describe_cluster()
    except (KafkaError, OSError) as problem:
        raise unreachable(place, problem) from None
    finally:
        await admin.close()
    return f"kafka-{cluster['cluster_id']}-{place.prefix}"
