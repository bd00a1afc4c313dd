# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Timelines that the undoing of a restore has given up: notes among the evidence, believed by nobody blindly.

Without a note an expiry takes such a timeline for the present for ever: its number is the highest. A note is a claim
about one moment; retention/given_up.py decides whether the archive still bears it out. History files and reserved
numbers stay, note or not: the number is never taken again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..core.clock import format_utc, parse_utc
from ..core.errors import KeeperError
from ..wal.lsn import format_lsn, parse_lsn
from .evidence import GIVEN_UP, write_evidence
from .layout import Repository

_FORMAT = 1


@dataclass(frozen=True)
class GivenUp:
    """``timeline`` ended at ``end_lsn`` with a clean stop; life went on on ``resumed_timeline`` from ``resumed_lsn``.

    What that timeline has from there on was written later than all of the one that was given up.
    """

    system_id: int
    timeline: int
    end_lsn: int
    resumed_timeline: int
    resumed_lsn: int
    at: datetime
    plan_id: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "system_id": str(self.system_id),
            "timeline": self.timeline,
            "end_lsn": format_lsn(self.end_lsn),
            "resumed_timeline": self.resumed_timeline,
            "resumed_lsn": format_lsn(self.resumed_lsn),
            "at": format_utc(self.at),
            "plan_id": self.plan_id,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> GivenUp:
        """From :meth:`to_dict`. Raises KeyError, TypeError, ValueError, KeeperError."""
        return cls(
            int(value["system_id"]),
            int(value["timeline"]),
            parse_lsn(value["end_lsn"]),
            int(value["resumed_timeline"]),
            parse_lsn(value["resumed_lsn"]),
            parse_utc(value["at"]),
            str(value["plan_id"]),
        )


Notes = Mapping[tuple[int, int], tuple[GivenUp, ...]]


def note_given_up(repository: Repository, one: GivenUp) -> str:
    """Keep a note durably; where it is. Raises :class:`Failed` (``repository-not-writable``)."""
    identity = f"{GIVEN_UP}-{one.system_id}-{one.timeline:08X}"
    return write_evidence(repository, identity, {"note": _FORMAT, **one.to_dict()})


def read_given_up(repository: Repository) -> Notes:
    """(system, timeline) -> the notes about it. A timeline with one that cannot be read has none: it is alive."""
    found: dict[tuple[int, int], list[GivenUp]] = {}
    doubtful: set[str] = set()
    try:
        documents = repository.documents("evidence")
    except OSError:
        # Then all timelines are alive, and more is kept.
        return {}
    for identity, item in documents.items():
        if not identity.startswith(f"{GIVEN_UP}-"):
            continue
        try:
            if isinstance(item, OSError):
                raise item
            value = json.loads(item)
            if value["note"] != _FORMAT:
                raise ValueError(f"its format is {value['note']!r}")
            one = GivenUp.from_dict(value)
            found.setdefault((one.system_id, one.timeline), []).append(one)
        except (OSError, KeeperError, KeyError, TypeError, ValueError):
            doubtful.add(identity)
    return {
        key: tuple(notes)
        for key, notes in found.items()
        if not any(name.startswith(f"{GIVEN_UP}-{key[0]}-{key[1]:08X}") for name in doubtful)
    }
