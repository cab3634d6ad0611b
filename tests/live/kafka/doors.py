"""The doors of a secured broker, and URLs that lead through them."""

import uuid
from urllib.parse import quote

from tests.live.kafka.broker import Broker

OPTIONS = "partitions=4&replication=1"
KINDS = {
    "SCRAM-SHA-512": ("SASL_SSL", "user password ca"),
    "SCRAM-SHA-256": ("SASL_SSL", "user password ca sasl"),
    "PLAIN": ("SASL_SSL", "user password ca sasl"),
    "certificate": ("MUTUAL", "ca cert key"),
    "no TLS": ("SASL_PLAINTEXT", "user password"),
}
"""The ways in: through which door, and what opens it."""


class Doors:
    """Where `infra/broker/secured.py` listens, and what opens it."""

    def __init__(self, broker: Broker) -> None:
        self.plain = broker.bootstrap
        self.address: dict[str, str] = broker.secured["doors"]
        self.secrets: dict[str, str] = broker.secured["users"]
        self.ca, self.cert, self.key = (broker.secured[name] for name in ("ca", "cert", "key"))

    def user(self, name: str = "ledger", secret: str | None = None) -> str:
        """`user:secret@`, as a URL has it; without `secret` the right one."""
        return f"{name}:{quote(self.secrets[name] if secret is None else secret, safe='')}@"

    def url(self, who: str, door: str, *options: str, tls: bool = True) -> str:
        """A new log. `door` is a name or an address."""
        every = "&".join((OPTIONS, *options))
        prefix = f"test-{uuid.uuid4().hex[:12]}"
        return f"kafka{'s' if tls else ''}://{who}{self.address.get(door, door)}/{prefix}?{every}"

    def opened(self, kind: str, user: str = "ledger") -> tuple[str, str, dict[str, str]]:
        """A new log, entered in one of KINDS: its URL, and a URL that wants these variables."""
        door, names = KINDS[kind]
        every = {
            "user": user, "password": self.secrets[user], "sasl": kind,
            "ca": self.ca, "cert": self.cert, "key": self.key,
        }  # fmt: skip
        given = {name: every[name] for name in names.split()}
        bare = self.url("", door, tls=kind != "no TLS")
        head, _, rest = bare.partition("://")
        options = [f"{name}={given[name]}" for name in given if name not in ("user", "password")]
        full = f"{head}://{self.user(user) if 'user' in given else ''}{'&'.join((rest, *options))}"
        return full, bare, {f"LEDGER_KAFKA_{name.upper()}": value for name, value in given.items()}
