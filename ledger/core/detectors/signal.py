"""What a detector says to the frame: one pattern seen in one event."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.core.verdicts import Denial, Severity


@dataclass(slots=True)
class Signal:
    """A pattern. The frame makes it a finding when `level` has risen since `key` last spoke.

    `level` 0 takes back what was said under `key`. `denial` refuses the request at hand,
    spoken or not, where the policy denies. `denies` are fingerprints of acts that holders of
    leases shall refuse themselves.
    """

    key: str
    subject: str
    severity: Severity
    level: int
    reason: str
    facts: dict[str, int | str] = field(default_factory=dict)
    evidence: tuple[int, ...] = ()
    denial: Denial | None = None
    denies: tuple[int, ...] = ()
