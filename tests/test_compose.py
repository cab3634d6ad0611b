"""`docker-compose.yml` starts in order, knows when it is well, and asks for what there is.

It cannot run here: there is no Docker. Its commands do, on a broker (`live/kafka/test_compose.py`),
and the file is checked against the schema by `check-jsonschema` when it is changed.
"""

import re
from typing import Any

import pytest
import yaml

from ledger.log.kafka_place import place
from ledger.topics import wanted
from tests.wheel import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("topics", "judge", "archivist")
ONCE = ("topics",)


def test_there_is_what_a_fleet_needs() -> None:
    assert set(SERVICES) == {"kafka", *OURS}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_limits(name: str) -> None:
    """One that leaks must not take the machine with it."""
    limits = SERVICES[name]["deploy"]["resources"]["limits"]

    assert limits.keys() == {"cpus", "memory"}


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in ONCE])
def test_whatever_stays_says_how_it_is(name: str) -> None:
    """And is started again, and has time to settle."""
    service = SERVICES[name]

    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert int(service["stop_grace_period"].removesuffix("s")) >= 30


@pytest.mark.parametrize("name", ["judge", "archivist"])
def test_workers_wait_for_topics_that_are_as_they_must_be(name: str) -> None:
    needs = SERVICES[name]["depends_on"]

    assert needs["topics"] == {"condition": "service_completed_successfully"}
    assert SERVICES["topics"]["depends_on"]["kafka"] == {"condition": "service_healthy"}
    assert SERVICES["topics"]["restart"] == "no"


def test_all_mean_the_same_log_and_the_broker_can_hold_it() -> None:
    """One broker holds one copy, of the log and of what the brokers note themselves."""
    (url,) = {SERVICES[name]["environment"]["LEDGER_LOG"] for name in OURS}
    where = place(url, {})
    topics = wanted(where.prefix, replication=where.replication, partitions=where.partitions)
    kafka = SERVICES["kafka"]["environment"]
    advertised = dict(one.split("://") for one in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    protocols = kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]
    known = [one.partition(":")[0] for one in protocols.split(",")]

    assert where.bootstrap == advertised["INSIDE"]
    assert {topic.replication for topic in topics.values()} == {1}
    assert {kafka[key] for key in kafka if key.endswith("REPLICATION_FACTOR")} == {"1"}
    assert sorted(re.findall(r"(\w+)://", kafka["KAFKA_LISTENERS"])) == sorted(known)
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_nobody_beyond_this_machine_gets_in() -> None:
    """Kafka is plain text here, /health and /metrics have no password."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    for name in OURS:
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_the_broker_is_the_one_of_the_tests() -> None:
    """What was proved on one version is said of no other."""
    pom = (ROOT / "infra/broker/pom.xml").read_text()
    (version,) = re.findall(r"<artifactId>kafka_2.13</artifactId>\s*<version>(.*?)<", pom)

    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


def test_volumes_are_declared_and_used() -> None:
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }

    assert used == COMPOSE["volumes"].keys()
    assert SERVICES["archivist"]["volumes"] == ["archive:/var/lib/ledger"]
    assert SERVICES["archivist"]["environment"]["LEDGER_ARCHIVE"].startswith("/var/lib/ledger/")


def test_the_image_is_made_of_what_is_there() -> None:
    """Each file that the Dockerfile copies exists, and the context lets it through."""
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    through = (ROOT / ".dockerignore").read_text().split()
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
        for name in line.split()[:-1]
    ]

    assert set(copied) == {name[1:] for name in through if name.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    assert 'ENTRYPOINT ["ledger"]' in dockerfile
