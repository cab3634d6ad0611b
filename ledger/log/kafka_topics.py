"""Topics on a broker: creates what is missing, checks what there is, never deletes.

What a newcomer would get wrong
    `check` is for workers: one that read a topic without `LogAppendTime` would judge by the
    clocks of clients. Nothing here changes a topic that there is; a person does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from ledger.errors import LedgerError
from ledger.log.kafka_place import Place
from ledger.log.kafka_start import RIGHTS_TO, start, unreachable
from ledger.topics import Topic, differences, wanted

LOOKS_MAX, LOOK_S = 100, 0.05


class TopicsWrong(LedgerError):
    """Topics are missing or not as they must be; `problems` says which, one sentence each."""

    def __init__(self, prefix: str, problems: list[str]) -> None:
        super().__init__(prefix, problems)
        self.prefix, self.problems = prefix, problems

    def __str__(self) -> str:
        return f"the topics of {self.prefix!r} cannot be used: " + "; ".join(self.problems)


async def apply(place: Place) -> tuple[list[str], list[str]]:
    """Create the topics that are missing: (names created, differences of those there were).

    Raises TopicsWrong where the broker refuses to create one, KafkaUnreachable.
    """
    topics = wanted(place.prefix, replication=place.replication, partitions=place.partitions)
    async with _admin(place) as admin:
        there = await _there(admin, topics.values())
        new = [topic for topic in topics.values() if topic.name not in there]
        created = await _create(admin, place.prefix, new) if new else []
        await _seen(admin, new)
        return created, _differences(topics.values(), there)


async def check(place: Place) -> dict[str, Topic]:
    """The topics as they are wanted. Raises TopicsWrong unless they are there and just so."""
    topics = wanted(place.prefix, replication=place.replication, partitions=place.partitions)
    async with _admin(place) as admin:
        there = await _there(admin, topics.values())
    missing = [_missing(topic) for topic in topics.values() if topic.name not in there]
    if problems := missing + _differences(topics.values(), there):
        raise TopicsWrong(place.prefix, problems)
    return topics


async def need(place: Place, short: str) -> None:
    """Return if that topic is there, whatever its settings. Raises TopicsWrong."""
    topic = wanted(place.prefix, replication=place.replication, partitions=place.partitions)[short]
    async with _admin(place) as admin:
        if not await _there(admin, [topic]):
            raise TopicsWrong(place.prefix, [_missing(topic)])


def _missing(topic: Topic) -> str:
    return f"{topic.name} is missing; create it with `ledger topics apply`"


async def _create(admin: Any, prefix: str, new: list[Topic]) -> list[str]:
    asked = [
        NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=topic.settings)
        for topic in new
    ]
    answer = await admin.create_topics(asked)
    created: list[str] = []
    problems: dict[str, list[str]] = {}
    for name, code, message in answer.topic_errors:
        _need_right(code, name)
        if code == 0:
            created.append(name)
        elif for_code(code) is not TopicAlreadyExistsError:  # Another was first: as good.
            problems.setdefault(message.replace(name, "NAME"), []).append(name)
    if problems:
        said = [f"not created: {', '.join(names)}: {why}" for why, names in problems.items()]
        raise TopicsWrong(prefix, [*said, "ask for what the brokers can do (?replication=1)"])
    return created


async def _seen(admin: Any, new: list[Topic]) -> None:
    """Return when a broker knows the topics that its controller has just made."""
    for _ in range(LOOKS_MAX):
        if len(await _there(admin, new)) == len(new):
            return
        await asyncio.sleep(LOOK_S)


async def _there(admin: Any, topics: Iterable[Topic]) -> dict[str, dict[str, Any]]:
    """Partitions, replicas and settings of those topics that there are."""
    names = [topic.name for topic in topics]
    found: dict[str, dict[str, Any]] = {}
    for one in await admin.describe_topics(names):
        _need_right(one["error_code"], one["topic"])
        if not one["error_code"]:
            found[one["topic"]] = {
                "partitions": len(one["partitions"]),
                "replication": min(len(part["replicas"]) for part in one["partitions"]),
            }
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in found]
    if asked:
        for answer in await admin.describe_configs(asked):
            for code, _, _, name, entries in answer.resources:
                _need_right(code, name)
                found[name]["settings"] = {entry[0]: entry[1] for entry in entries}
    return found


def _need_right(code: int, name: str) -> None:
    """Raises what the broker answers to whoever lacks a right, which is not "no such topic"."""
    if for_code(code) in RIGHTS_TO:
        raise for_code(code)(name)


def _differences(topics: Iterable[Topic], there: dict[str, dict[str, Any]]) -> list[str]:
    return [
        problem
        for topic in topics
        if topic.name in there
        for problem in differences(topic, **there[topic.name])
    ]


@asynccontextmanager
async def _admin(place: Place) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(**place.client())
    try:
        await start(admin, place)
        yield admin
    except (KafkaError, OSError) as problem:
        raise unreachable(place, problem) from None
    finally:
        await admin.close()
