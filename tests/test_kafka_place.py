"""Addresses of ledgers on Kafka: read right, refused with a sentence, secrets never shown."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("aiokafka", reason="install coordination-ledger[kafka]")

from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import BadPlace, place


def test_the_short_form_names_the_default_topics() -> None:
    found = place("kafka://host:9092")

    assert found.bootstrap == "host:9092"
    assert found.topic("events") == "ledger-events"
    assert found.security == {}


def test_several_hosts_a_prefix_and_options() -> None:
    found = place("kafka://a:1,b:2/acme?partitions=4&replication=1")

    assert (found.bootstrap, found.prefix) == ("a:1,b:2", "acme")
    assert (found.partitions, found.replication) == (4, 1)


def test_a_user_means_sasl_and_kafkas_means_tls() -> None:
    found = place("kafkas://me:p%40ss@host:9093/x?sasl=PLAIN").security

    assert found["security_protocol"] == "SASL_SSL"
    assert found["sasl_mechanism"] == "PLAIN"
    assert found["sasl_plain_password"] == "p@ss"
    assert found["ssl_context"].check_hostname


def test_what_the_url_does_not_say_stands_in_settings() -> None:
    """A secret in a command line is everybody's to read."""
    settings = {"LEDGER_KAFKA_USER": "me", "LEDGER_KAFKA_PASSWORD": "s", "LEDGER_KAFKA_SASL": ""}
    found = place("kafka://host:9092", settings).security

    assert (found["sasl_plain_username"], found["sasl_plain_password"]) == ("me", "s")
    assert found["sasl_mechanism"] == "SCRAM-SHA-512"
    assert found["security_protocol"] == "SASL_PLAINTEXT"


def test_the_url_goes_before_settings() -> None:
    settings = {"LEDGER_KAFKA_USER": "me", "LEDGER_KAFKA_PASSWORD": "s", "LEDGER_KAFKA_SASL": "X"}
    found = place("kafka://you@host:9092?sasl=PLAIN", settings).security

    assert (found["sasl_plain_username"], found["sasl_plain_password"]) == ("you", "s")
    assert found["sasl_mechanism"] == "PLAIN"


def test_an_authority_named_in_settings_is_read(tmp_path: Path) -> None:
    """With TLS only; a file that is not there is said so."""
    settings = {"LEDGER_KAFKA_CA": str(tmp_path / "none.pem")}

    assert place("kafka://host:9092", settings).security == {}
    with pytest.raises(BadPlace, match=r"none\.pem' cannot be read: No such file"):
        place("kafkas://host:9092", settings)


@pytest.mark.parametrize(
    "url",
    ["", "http://host", "kafka://", "kafka://h?what=1", "kafka://h?partitions=many",
     "kafka://h:port", "kafka://[h"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_form_of_one(url: str) -> None:
    with pytest.raises(BadPlace, match="write kafka://host:9092/prefix"):
        place(url)


def test_a_secret_is_shown_nowhere() -> None:
    """Errors and reprs end up in logs."""
    with pytest.raises(BadPlace) as caught:
        place("kafka://me:secret@host?what=1")

    assert "secret" not in str(caught.value)
    assert "secret" not in repr(place("kafka://me:secret@host"))


@pytest.mark.parametrize("module", ["app", "archiving"])
def test_fausts_own_command_says_what_is_wrong_with_an_address(module: str) -> None:
    """Faust would show where in our code; the sentence is for whoever wrote the address."""
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", f"ledger.processors.{module}", "worker"],
        check=False, capture_output=True, text=True,
        env={**os.environ, "LEDGER_KAFKA": "kafka://me:secret@host?what=1"},
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "ledger: kafka://...@host?what=1: unknown option 'what'; write kafka://host:9092/prefix"
    ]


@pytest.mark.parametrize("secret", ["hu/sh", "hu?sh", "hu#sh", "12/hush"])
def test_a_secret_that_ends_the_address_is_no_host(secret: str) -> None:
    """Half of it would be looked up in the network's names, and be in the error."""
    with pytest.raises(BadPlace, match=r"as %2F %3F %23 %40") as caught:
        place(f"kafka://me:{secret}@host:9092/x")

    assert secret not in str(caught.value)
    assert secret[:2] not in str(caught.value)
    secret = quote(secret, safe="")
    assert place(f"kafka://me:{secret}@host:9092/x").bootstrap == "host:9092"


@pytest.mark.parametrize(
    ("url", "problem"),
    [("kafka://me:s@h?sasl=GSSAPI", "'GSSAPI' is not supported; choose of SCRAM-SHA-512,"),
     ("kafka://me@h", "user 'me' has no secret; .*LEDGER_KAFKA_PASSWORD"),
     ("kafka://me:s@h?ca=ca.pem", "ca is for TLS; write kafkas://")],
)  # fmt: skip
def test_what_cannot_work_is_said_before_a_broker_is_asked(url: str, problem: str) -> None:
    """The last would send the secret for everybody to read."""
    with pytest.raises(BadPlace, match=problem):
        place(url, {})


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for options in (f"ca={junk}", f"cert={junk}&key={junk}"):
        with pytest.raises(BadPlace, match=r"TLS cannot use .*junk.pem.*give PEM files"):
            place(f"kafkas://h?{options}", {})


@pytest.mark.parametrize(
    ("key", "hashed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
     (b"a-little-bit-longer-string", -1486304829), (b"abc", 479470107)],
)  # fmt: skip
def test_keys_are_hashed_as_the_java_client_does(key: bytes, hashed: int) -> None:
    """The vectors of Kafka's own UtilsTest; another hash would look for a run elsewhere."""
    assert partition_of(key, 12) == (hashed & 0x7FFFFFFF) % 12
