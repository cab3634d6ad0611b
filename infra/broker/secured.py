"""Doors of the test broker that open only to whom it knows: certificates, users, rights.

What a newcomer would get wrong
    A secured broker keeps its plain door, for itself and for whoever watches from outside: who
    comes through that one may do everything, and so may `ledger` through any. The other users
    get in and have no rights until somebody gives them some.
    The certificates are for 127.0.0.1, so that `localhost` is another host to whoever checks.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

USERS = {"ledger": "hush/hush@1?"} | {
    user: f"hush-{user}" for user in ("agent", "judge", "archivist", "person", "guest")
}
"""Secrets by user; the first has what a URL has to write otherwise."""
DOORS = {
    "SASL_SSL": "SASL_SSL", "SASL_PLAINTEXT": "SASL_PLAINTEXT", "MUTUAL": "SSL", "EXPIRED": "SSL",
}  # fmt: skip
"""Listeners, and what they speak. MUTUAL wants a certificate, EXPIRED shows one that is old."""
DAYS = {"broker": 2, "ledger": 2, "expired": 0}
"""How long the certificate of each is good."""
NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf".split()


def make_certificates(folder: Path) -> None:
    """Make the authority's `ca.pem`, and NAME.key, NAME.pem and both in NAME.store of DAYS."""
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name=name\n[name]\n")
    (folder / "extensions").write_text(
        "subjectAltName=IP:127.0.0.1\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    _openssl(
        folder, "req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
        "-subj", "/CN=authority", "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    for name, days in DAYS.items():
        _openssl(
            folder, "req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.request",
            "-subj", f"/CN={name}",
        )  # fmt: skip
        _openssl(
            folder, "x509", "-req", "-in", f"{name}.request", "-out", f"{name}.pem",
            "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", str(days), "-extfile", "extensions",
        )  # fmt: skip
        both = (folder / f"{name}.key").read_text() + (folder / f"{name}.pem").read_text()
        (folder / f"{name}.store").write_text(both)


def scram_users() -> list[str]:
    """What `StorageTool format` takes so that the cluster knows USERS from its first start."""
    return [
        word
        for user, secret in USERS.items()
        for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")
        for word in ("--add-scram", f"{mechanism}=[name={user},password={secret}]")
    ]


def properties(folder: Path) -> dict[str, object]:
    """Settings of a node with DOORS, whose certificates are in `folder`."""
    known = " ".join(f'user_{user}="{secret}"' for user, secret in USERS.items())
    package = "org.apache.kafka.common.security"
    scram = f"{package}.scram.ScramLoginModule required;"
    modules = {
        "SCRAM-SHA-512": scram,
        "SCRAM-SHA-256": scram,
        "PLAIN": f"{package}.plain.PlainLoginModule required {known};",
    }
    jaas = {
        f"listener.name.{door.lower()}.{mechanism.lower()}.sasl.jaas.config": module
        for door in ("SASL_SSL", "SASL_PLAINTEXT")
        for mechanism, module in modules.items()
    }
    return {
        "sasl.enabled.mechanisms": ",".join(modules),
        **jaas,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / "broker.store",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / "ca.pem",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.expired.ssl.keystore.type": "PEM",
        "listener.name.expired.ssl.keystore.location": folder / "expired.store",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:ledger;User:CN=ledger",
    }


def ways_in(folder: Path, ports: dict[str, int]) -> dict[str, object]:
    """What a client needs to know: addresses by door, secrets by user, files."""
    return {
        "doors": {door: f"127.0.0.1:{port}" for door, port in ports.items()},
        "users": USERS,
        "ca": str(folder / "ca.pem"),
        "cert": str(folder / "ledger.pem"),
        "key": str(folder / "ledger.key"),
    }


def _openssl(folder: Path, *words: str) -> None:
    done = subprocess.run(
        ["openssl", *words], cwd=folder, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"openssl {words[0]} failed:\n{done.stderr}")
