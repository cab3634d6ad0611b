"""Rights on a broker that has them: given as the page on fleets says, or one by one."""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from tests.live.kafka.doors import Doors
from tests.waiting import wait_for
from tests.wheel import ROOT

PAGE = ROOT / "ledger" / "docs" / "fleet.md"
HEAD = "| who | Read | Write | Delete | of groups |"
KINDS = {"topic": 2, "group": 3, "transactional id": 5}
RIGHTS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
EXACT, BEGINS, ALLOW = 3, 4, 3
"""Kafka's numbers for all these."""


class Right(NamedTuple):
    """What a user may do. A name that ends in * is how the names begin."""

    user: str
    right: str
    kind: str
    name: str


def on_the_page(prefix: str) -> Iterator[Right]:
    """What the page says that each needs for the log of this prefix."""
    rows = PAGE.read_text().partition(HEAD)[2].split("\n\n")[0].splitlines()[2:]
    for row in rows:
        user, reads, writes, deletes, groups = (cell.strip() for cell in row.strip("|").split("|"))
        for right in ("Describe", "DescribeConfigs"):
            yield Right(user, right, "topic", f"{prefix}-*")
        for right, topics in (("Read", reads), ("Write", writes), ("Delete", deletes)):
            for topic in topics.split(", ") if topics else ():
                yield Right(user, right, "topic", f"{prefix}-{'*' if topic == 'all' else topic}")
        for group in groups.split(", "):
            right, _, name = group.partition(" ")
            yield Right(user, right, "group", f"{prefix}-{name}")
        if user == "judge":
            yield Right(user, "Write", "transactional id", f"{prefix}-{groups.split()[1]}-*")


def give(doors: Doors, *rights: Right) -> None:
    """Give these, as an operator does with kafka-acls, and wait until they count."""
    for one in rights:
        answer = asyncio.run(_ask(doors, CreateAclsRequest(*_words(one))))
        assert answer.creation_responses[0][0] == 0, answer
    last = DescribeAclsRequest(*_words(rights[-1]))
    wait_for(lambda: asyncio.run(_ask(doors, last)).resources, what=f"{rights[-1]} to count")


def _words(one: Right) -> tuple[Any, ...]:
    how = BEGINS if one.name.endswith("*") else EXACT
    name, who = one.name.rstrip("*"), f"User:{one.user}"
    return KINDS[one.kind], name, how, who, "*", RIGHTS[one.right], ALLOW


async def _ask(doors: Doors, request: Any) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=doors.plain)
    await admin.start()
    try:
        return await admin._send_to_controller(request)
    finally:
        await admin.close()
