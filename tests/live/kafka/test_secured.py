"""Brokers that ask who comes: every kind of URL gets in, and no secret gets out."""

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import ledger
from tests.cli.calling import Said, process
from tests.cli.calling import ledger as command
from tests.live.kafka import rights
from tests.live.kafka.doors import KINDS, Doors
from tests.live.kafka.test_client_broken import append
from tests.live.kafka.test_commands import policy
from tests.live.kafka.workers import UP_S, Worker, free_port, metric, working
from tests.waiting import wait_for

WAIT = "300"
"""Seconds that nobody waits who hears an answer."""
AGENT = """
import sys, ledger
with ledger.connect(sys.argv[1]) as led, led.run("r", run=sys.argv[2]) as run:
    with run.spawn("a") as agent, agent.tool_call("search") as call:
        call.result("ten links")
    print("ready", flush=True)
    sys.stdin.readline()
    with run.tool_call("search"):
        pass
"""


def shown(worker: Worker) -> str:
    """What everybody on the machine sees of a process."""
    return Path(f"/proc/{worker.process.pid}/cmdline").read_text()


def test_a_fleet_lives_behind_tls_and_users(doors: Doors, tmp_path: Path) -> None:
    """All that a log on Kafka has to do with brokers, over TLS, each part by a user of its own,
    with the rights that the page on fleets gives it and no others.

    The judge has its secret from the URL, the archivist from variables.
    """
    root, bare, _ = doors.opened("SCRAM-SHA-512")
    _, _, variables = doors.opened("SCRAM-SHA-512", "archivist")
    rights.give(doors, *rights.on_the_page(urlsplit(root).path[1:]))
    url = {user: root.replace(doors.user(), doors.user(user)) for user in doors.secrets}
    run, port, archive = f"r-{uuid.uuid4().hex[:8]}", free_port(), str(tmp_path / "archive")
    asked: list[Said] = []

    def ask(*words: str) -> Said:
        asked.append(process("--log", url["person"], "--archive", archive, *words, cwd=tmp_path))
        return asked[-1]

    assert command("--log", root, "topics", "apply").code == 0
    with (
        working(url["judge"], tmp_path / "1", "judge") as judge,
        working(
            bare, tmp_path / "2", "archivist", "--archive", archive, "--web-port", str(port),
            **variables,
        ) as archivist,
        subprocess.Popen(
            [sys.executable, "-c", AGENT, url["agent"], run], cwd=tmp_path, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "LEDGER_POLICY": str(policy(tmp_path))},
        ) as agent,
    ):  # fmt: skip
        try:
            judge.said("judging 0-3 of 4 partitions")
            archivist.said("archiving ")
            assert agent.stdout
            assert agent.stdout.readline() == "ready\n", agent.communicate()
            killed = ask("kill", run, "--reason", "it circles", "--wait", WAIT, "--json")
            _, err = agent.communicate("\n", timeout=UP_S)
        finally:
            agent.kill()
        with ledger.connect(url["agent"]) as led:
            append(led.log, [(run, b"junk")])
        refused = wait_for(lambda: json.loads(ask("refused", "--json").out), what="the refusal")
        wait_for(lambda: metric(port, "ledger_archivist_rows_total") >= 10, UP_S, what="rows")
        wait_for(lambda: not metric(port, "ledger_archivist_lag"), UP_S, what="the archive")
        rows = ask("sql", f"select count(*) as agents from agents where run = '{run}'", "--json")
        lines = shown(judge) + shown(archivist)

        assert (judge.end(), archivist.end()) == (0, 0)
    everything = lines + judge.out + judge.err + archivist.out + archivist.err + err
    everything += "".join(one.out + one.err for one in asked)

    assert {one.code for one in asked} == {0}, asked
    assert json.loads(killed.out)["quiet"]
    assert "was killed: it circles" in err
    assert [one["size"] for one in refused] == [len(b"junk")]
    assert json.loads(rows.out) == [{"agents": 2}]
    assert "ledger.processors.worker" in lines
    assert all("hush" in secret for secret in doors.secrets.values())
    assert "hush" not in everything


def test_a_worker_of_two_processes_shows_no_secret_either(doors: Doors, tmp_path: Path) -> None:
    """The one that waits for the two lives as long as they."""
    url, _, _ = doors.opened("SCRAM-SHA-512")
    assert command("--log", url, "topics", "apply").code == 0
    with working(url, tmp_path, "all", "--archive", str(tmp_path / "archive")) as worker:
        worker.said("ledger judge: judging 0-3 of 4 partitions")
        worker.said("ledger archivist: archiving ")
        lines = shown(worker)

        assert worker.end() == 0
    assert "worker" in lines
    assert "hush" not in lines + worker.out + worker.err


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_url_gets_in(
    doors: Doors, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What opens the door stands in the URL, or in variables."""
    url, bare, variables = doors.opened(kind)
    applied = command("--log", url, "topics", "apply")
    recorded(url)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    checked = command("--log", bare, "topics", "check")
    recorded(bare)

    assert (applied.code, checked.code) == (0, 0), (applied, checked)


def recorded(url: str) -> None:
    """Record something. Raises where it is not acknowledged."""
    with ledger.connect(url) as led, led.run("r"):
        led.flush(60)


# --- what does not get in ---


def wrong(doors: Doors) -> dict[str, tuple[str, str]]:
    """URLs that cannot work, each with what is said of it."""
    ca, tls = f"ca={doors.ca}", doors.address["SASL_SSL"]
    user, other = doors.user(), doors.user(secret="wrong-hush")
    certificate = "certificate does not hold"
    return {
        "secret": (doors.url(other, tls, ca), "does not take user 'ledger' with this secret"),
        "secret, PLAIN": (
            doors.url(other, tls, ca, "sasl=PLAIN"), r"user 'ledger' with this secret \(PLAIN\)",
        ),
        "user": (doors.url(doors.user("nobody", "hush"), tls, ca), "does not take user 'nobody'"),
        "no user": (doors.url("", tls, ca), "wants a user; write user:secret@"),
        "no user, no TLS": (doors.url("", "SASL_PLAINTEXT", tls=False), "wants a user"),
        "a user too many": (doors.url(user, doors.plain, tls=False), "takes no users on this port"),
        "no TLS": (doors.url(user, tls, tls=False), "speaks TLS on this port; write kafkas://"),
        "TLS": (doors.url("", doors.plain, ca), "speaks no TLS on this port; write kafka://"),
        "TLS, user": (doors.url(user, "SASL_PLAINTEXT", ca), "speaks no TLS on this port"),
        "authority": (doors.url(user, tls), f"{certificate} .*name its authority with .ca=FILE"),
        "expired": (doors.url("", "EXPIRED", ca), f"{certificate} .*expired.*; renew it"),
        "host": (
            doors.url(user, tls.replace("127.0.0.1", "localhost"), ca),
            f"{certificate} .*not valid for 'localhost'.*; write the host as",
        ),
        "no certificate": (doors.url("", "MUTUAL", ca), "wants a certificate that it trusts"),
        "ca": (doors.url(user, tls, "ca=none.pem"), "ca 'none.pem' cannot be read: No such file"),
    }  # fmt: skip


def test_who_does_not_get_in_is_told_why(doors: Doors) -> None:
    """One sentence, at once, to a person and to a program; what a person has to do is in it."""
    for url, why in wrong(doors).values():
        said = command("--log", url, "topics", "check")
        with pytest.raises(ledger.LedgerError, match=why) as caught:
            ledger.connect(url)

        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert re.search(why, said.err)
        assert "hush" not in said.err + str(caught.value)


def test_a_worker_that_is_not_let_in_does_not_wait(doors: Doors, tmp_path: Path) -> None:
    """It waits for brokers that are not there yet; these are."""
    for kind in ("secret", "TLS"):
        url, why = wrong(doors)[kind]
        for role in ("judge", "archivist"):
            with working(url, tmp_path / f"{kind}-{role}", role, "--wait-s", WAIT) as worker:
                assert worker.ended() == 1

            assert re.search(f"^ledger {role}: .*{why}.*$", worker.err)
            assert worker.err.count("\n") == 1
            assert "hush" not in worker.err
