"""Which topics a ledger on Kafka has: `topics.toml`, read.

What a newcomer would get wrong
    The file ships inside the package, because an installed worker checks it; `infra/topics.toml`
    is a link to it. Talking to a broker is `ledger.log.kafka_topics`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

INSYNC = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it should be. `settings` are Kafka's, as text.

    `keep_ms`: archivists delete what is older, archived, and judged; None: they delete nothing.
    """

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]
    keep_ms: int | None = None


def wanted(
    prefix: str = "ledger", *, replication: int | None = None, partitions: int | None = None
) -> dict[str, Topic]:
    """The topics by their short names (`events`, `verdicts`, ...), named `<prefix>-<short name>`.

    `replication` and `partitions` (of events, verdicts, checkpoints) override the file. With fewer
    than three replicas fewer must be in sync: one less than there are, and at least one.
    """
    data = tomllib.loads(resources.files("ledger").joinpath("topics.toml").read_text("utf-8"))
    every = data.pop("every")
    copies = replication or every["replication"]
    many = partitions or data["events"]["partitions"]
    found = {}
    for short, given in data.items():
        settings = every["settings"] | given["settings"]
        settings[INSYNC] = str(min(int(settings[INSYNC]), max(1, copies - 1)))
        count = given["partitions"]
        found[short] = Topic(
            f"{prefix}-{short}", many if short == "events" or count == "events" else count,
            copies, settings, given.get("keep_ms"),
        )  # fmt: skip
    return found


def differences(topic: Topic, *, partitions: int, replication: int, settings: Any) -> list[str]:
    """In which ways a topic that there is differs from `topic`, each a sentence with the remedy."""
    found = []
    if partitions != topic.partitions:
        found.append(
            f"{topic.name} has {partitions} partitions, topics.toml says {topic.partitions}; "
            "the number is fixed for a log's life: name it in the log's URL "
            f"(?partitions={partitions}), or use another prefix"
        )
    if replication < topic.replication:
        found.append(
            f"{topic.name} has {replication} replicas, topics.toml says {topic.replication}; "
            f"reassign it, or ask for fewer in the log's URL (?replication={replication})"
        )
    for name, value in topic.settings.items():
        there = settings.get(name)
        if there != value:
            found.append(
                f"{topic.name} has {name}={there}, topics.toml says {value}; "
                "set it with kafka-configs.sh --alter --entity-type topics "
                f"--entity-name {topic.name} --add-config {name}={value}"
            )
    return found
