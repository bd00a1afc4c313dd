# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is asked of a restore. Refuses what cannot be meant, before anything is looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..core.clock import parse_moment
from ..core.errors import Refused
from ..wal.facts import Target, TargetKind
from ..wal.lsn import parse_lsn

_ATTEMPTED = "understand the recovery target"


@dataclass(frozen=True)
class RestoreRequest:
    """A restore that replaces the live cluster.

    ``asked`` keeps the target in the asker's own words and zone, for the card. ``again`` repeats a restore that
    has been done already; ``accept_unarchived`` lets ``latest`` go on although a crashed cluster holds WAL that
    never reached the archive; ``skip_backup`` leaves out the new base backup at the end; ``accept_other_system``
    lets another cluster (one that was just made on a new host, say) be put aside; ``use_partial`` agrees to take in
    unfinished segments up to their last sound record (B15); ``accept_page_faults`` to start from a backup that has
    damaged pages (B19); ``accept_collation_change`` and ``accept_missing_libraries`` to a host that orders text
    otherwise (C18) or lacks libraries (C11); ``verify_amcheck`` has every table and index checked before the swap.
    """

    target: Target
    asked: str
    backup: str | None = None
    tablespace_map: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
    accept_unarchived: bool = False
    skip_backup: bool = False
    accept_other_system: bool = False
    use_partial: bool = False
    accept_page_faults: bool = False
    verify_amcheck: bool = False
    accept_collation_change: bool = False
    accept_missing_libraries: bool = False

    @property
    def identity(self) -> str:
        """The same for two requests that mean the same (a zone may be written differently)."""
        meaning = {
            **self.target.to_dict(),
            "backup": self.backup,
            "tablespaces": sorted(self.tablespace_map.items()),
            **({"use_partial": True} if self.use_partial else {}),
        }
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "target": self.target.to_dict(),
            "asked": self.asked,
            "backup": self.backup,
            "tablespace_map": dict(self.tablespace_map),
            "accept_unarchived": self.accept_unarchived,
            "skip_backup": self.skip_backup,
            "accept_other_system": self.accept_other_system,
            "use_partial": self.use_partial,
            "accept_page_faults": self.accept_page_faults,
            "verify_amcheck": self.verify_amcheck,
            "accept_collation_change": self.accept_collation_change,
            "accept_missing_libraries": self.accept_missing_libraries,
        }


def target_from(
    *,
    time: str | None = None,
    lsn: str | None = None,
    xid: str | None = None,
    name: str | None = None,
    latest: bool = False,
    immediate: bool = False,
    inclusive: bool = True,
    timeline: int | None = None,
    allow_idle_gap: bool = False,
) -> tuple[Target, str]:
    """A target and its asker's words, from options of which exactly one may be given.

    Raises :class:`Refused`: ``target-missing``, ``targets-conflict`` (A08), ``target-malformed`` (A07), and what
    :func:`core.clock.parse_moment` and :func:`wal.lsn.parse_lsn` raise.
    """
    given = {
        kind: value
        for kind, value in (
            ("time", time),
            ("lsn", lsn),
            ("xid", xid),
            ("name", name),
            ("latest", latest or None),
            ("immediate", immediate or None),
        )
        if value is not None
    }
    if len(given) != 1:
        raise Refused(
            "targets-conflict" if given else "target-missing",
            attempted=_ATTEMPTED,
            happened=f"{len(given)} targets were given: {', '.join(given)}"
            if given
            else "no target was given",
            remedy="Give exactly one of time, LSN, xid, restore point name, latest and immediate.",
        )
    if timeline is not None and timeline < 1:
        raise _malformed(f"timeline {timeline}", "a timeline is a number from 1 on")
    if not inclusive and ("latest" in given or "immediate" in given or "name" in given):
        raise _malformed("exclusive", "only a time, an LSN or an xid can be excluded")
    kind: TargetKind
    value: datetime | int | str | None = None
    if time is not None:
        kind, value, asked = "time", parse_moment(time, attempted=_ATTEMPTED), time.strip()
    elif lsn is not None:
        kind, value, asked = "lsn", parse_lsn(lsn), f"LSN {lsn}"
    elif xid is not None:
        if not str(xid).isdigit() or not 3 <= int(xid) < 2**64:
            raise _malformed(f"xid {xid!r}", "a transaction id is a whole number from 3 on")
        kind, value, asked = "xid", int(xid), f"xid {xid}"
    elif name is not None:
        if not name or len(name.encode()) > 63:
            raise _malformed(f"restore point {name!r}", "a restore point's name has 1 to 63 bytes")
        kind, value, asked = "name", name, f"restore point {name}"
    else:
        kind = "latest" if latest else "immediate"
        asked = kind
    target = Target(
        kind,
        value,
        inclusive=inclusive,
        timeline=timeline,
        allow_idle_gap=allow_idle_gap,
    )
    return target, asked


def _malformed(what: str, why: str) -> Refused:
    return Refused(
        "target-malformed",
        attempted=_ATTEMPTED,
        happened=f"{what}: {why}",
        remedy="Correct the target; 'dbkeeper info' shows what can be reached.",
    )
