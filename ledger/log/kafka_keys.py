"""Which partition a key belongs to: murmur2, as Kafka's Java client does it.

What a newcomer would get wrong
    A run lives in one partition, and only its judge knows it. A record in another partition is
    refused. Clients of other languages must partition likewise; librdkafka's default does not
    (set `partitioner=murmur2_random`).
"""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=200_000)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of this key among so many."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
