# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What verifications have found: one document for each backup, archive and dump among the evidence, and one of runs.

They are written as soon as something has been read, so that a run that was killed has not been in vain.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..core.clock import format_utc, parse_utc
from ..core.errors import KeeperError
from ..repository.evidence import VERIFICATION, read_evidence, remove_evidence, write_evidence
from ..repository.layout import Repository
from .verify_plan import Known

RUNS = VERIFICATION
_LONGEST = 200


def record_name(kind: str, name: str) -> str:
    """The name of a document: ``verify-20261121T031500Z-full``, ``verify-wal-7123…``, ``verify-dump-…``."""
    # A dump's key has slashes; a plus is in none of its parts, which are percent-encoded.
    plain = name.removeprefix("dump/").replace("/", "+")
    identity = f"{VERIFICATION}-{name}" if kind == "base" else f"{VERIFICATION}-{kind}-{plain}"
    if len(identity) <= _LONGEST:
        return identity
    return f"{identity[: _LONGEST - 17]}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


@dataclass
class Records:
    """All documents of verifications of a repository, by name."""

    repository: Repository
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, repository: Repository) -> Records:
        """A document that cannot be read is as if there were none: it is made again by reading what it is about."""
        return cls(repository, read_evidence(repository, prefix=VERIFICATION))

    def known(self, identity: str) -> Known | None:
        """What was found last; None: nothing that could be understood."""
        value = self.found.get(identity)
        if value is None:
            return None
        try:
            return Known(
                str(value["result"]),
                str(value["signature"]),
                _moment(value.get("read_at")),
                _moment(value.get("full_at")),
            )
        except (KeyError, KeeperError, ValueError, TypeError):
            return None

    def keep(self, identity: str, value: dict[str, Any]) -> None:
        """Write one. Raises as :func:`write_evidence` does."""
        write_evidence(self.repository, identity, value)
        self.found[identity] = value

    def forget_all_but(self, identities: set[str]) -> list[str]:
        """Take away the documents of what is not stored any more; their names."""
        gone = [name for name in self.found if name != RUNS and name not in identities]
        for name in gone:
            remove_evidence(self.repository, name)
            del self.found[name]
        return gone

    def bad(self) -> list[dict[str, Any]]:
        """What was found wrong and has not been found good since."""
        return [
            {"what": value.get("what", name), "kind": value.get("kind"), "fault": value.get("fault")}
            for name, value in self.found.items()
            if name != RUNS and value.get("result") == "bad"
        ]

    @property
    def runs(self) -> dict[str, Any]:
        """Kind of run (``cheap``, ``thorough``, ``trial``) -> when it began and ended, and what came of it."""
        value = self.found.get(RUNS, {}).get("runs")
        return dict(value) if isinstance(value, dict) else {}

    def note_run(self, kind: str, value: dict[str, Any]) -> None:
        """Write down that a run began, or how it ended."""
        runs = {**self.runs, kind: value}
        self.keep(RUNS, {"operation": VERIFICATION, "runs": runs})


def verification(repository: Repository) -> dict[str, Any]:
    """For who wants to know how things stand, without reading anything: JSON values.

    ``cheap``, ``thorough`` and ``trial``: the last run of the kind, or None: ``began_at``, ``ended_at`` (None: it was
    interrupted, or runs), ``good``. ``bad``: what was found wrong and has not been found good since.
    """
    records = Records.read(repository)
    runs = records.runs
    return {**{kind: runs.get(kind) for kind in ("cheap", "thorough", "trial")}, "bad": records.bad()}


def ended_run(run: dict[str, Any] | None) -> dict[str, Any] | None:
    """The last trial that came to its end: this one, or the one before it."""
    if not run or run.get("ended_at"):
        return run
    before = run.get("before")
    return before if isinstance(before, dict) else None


def moment_text(moment: datetime | None) -> str | None:
    """For a document."""
    return format_utc(moment) if moment else None


def _moment(value: Any) -> datetime | None:
    return parse_utc(str(value)) if value else None
