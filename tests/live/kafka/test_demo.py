"""The demo on Kafka shows what it shows on a file, and leaves nothing on the brokers."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from tests.live.kafka.broker import PROGRAM, Broker
from tests.waiting import wait_for

TIMES_MAX = 3


def topics(broker: Broker) -> list[str]:
    """The topics that there are."""

    async def ask() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            return [str(name) for name in await admin.list_topics()]
        finally:
            await admin.close()

    return asyncio.run(ask())


def played(broker: Broker, folder: Path) -> "subprocess.CompletedProcess[str]":
    """The demo, which sets its own limits. On a machine that does five other things its fleet may
    be too slow to run away; then it is played again."""
    variables = {"TMPDIR": str(folder), "LEDGER_LOG": f"kafka://{broker.bootstrap}"}
    for _ in range(TIMES_MAX):
        said = subprocess.run(
            [sys.executable, "-m", "ledger.cli", "demo"], check=False, capture_output=True,
            text=True, cwd=folder, env={**os.environ, **variables},
        )  # fmt: skip
        if said.returncode == 0:
            break
    return said


def test_the_story_is_the_same_and_nothing_is_left(broker: Broker, tmp_path: Path) -> None:
    said = played(broker, tmp_path)
    log = re.search(r"/(ledger-demo-[0-9a-f-]+)\?", said.stdout)

    assert said.returncode == 0, said
    assert "15 claims checked, all true" in said.stdout
    assert list(tmp_path.iterdir()) == []
    assert log
    wait_for(lambda: not [one for one in topics(broker) if log[1] in one], what="topics to go")


def test_without_java_it_says_what_to_install(tmp_path: Path) -> None:
    """`make demo-kafka` on a laptop without it: a sentence, and exit 2."""
    bare = {name: value for name, value in os.environ.items() if name != "LEDGER_KAFKA"}
    program = PROGRAM.with_name("demo.py")
    done = subprocess.run(
        [sys.executable, str(program)], check=False, capture_output=True, text=True,
        env={**bare, "PATH": str(tmp_path)},
    )  # fmt: skip

    assert done.returncode == 2
    assert "needs Java 17" in done.stderr
    assert "Traceback" not in done.stderr
