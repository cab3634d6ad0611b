"""The command on a log on Kafka, and changes to its topics."""

import asyncio
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ledger.log.kafka_place import Place
from ledger.topics import wanted
from tests.cli.calling import Said, ledger
from tests.live.kafka.chaos import url_of
from tests.waiting import wait_for


def command(place: Place, *args: str) -> Said:
    """`ledger --log kafka://... args`."""
    return ledger("--log", url_of(place), *args)


def configure(place: Place, short: str, **changed: str) -> None:
    """Change settings of a topic, as an operator does, and wait until they hold."""
    topics = wanted(place.prefix, replication=place.replication, partitions=place.partitions)
    settings = {**topics[short].settings, **{k.replace("_", "."): v for k, v in changed.items()}}
    asyncio.run(_alter(place, place.topic(short), settings))
    wait_for(
        lambda: settings.items() <= asyncio.run(_settings(place, place.topic(short))).items(),
        30, what=f"the settings of {short}", poll_s=0.1,
    )  # fmt: skip


async def _alter(place: Place, name: str, settings: Mapping[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    await admin.start()
    try:
        kind = ConfigResourceType.TOPIC
        await admin.alter_configs([ConfigResource(kind, name, configs=dict(settings))])
    finally:
        await admin.close()


async def _settings(place: Place, name: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    finally:
        await admin.close()
    return {entry[0]: entry[1] for answer in answers for entry in answer.resources[0][4]}
