# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is asked of a base backup; what cannot be meant is refused here."""

from __future__ import annotations

from dataclasses import dataclass

from ..cluster.config import BACKUP_KINDS
from ..core.errors import Refused
from ..repository.catalog import check_label

_ATTEMPTED = "take a base backup"


@dataclass(frozen=True)
class BackupRequest:
    """A base backup, or one that is good enough.

    With ``label`` a verified backup of that name satisfies it; with ``max_age_seconds`` a verified backup of
    this system that ended no longer ago. With neither, one is taken every time. ``kind``: ``full``, ``incremental``
    or ``auto``; None leaves it to the cluster's description. Raises :class:`Refused`: ``label-malformed``,
    ``max-age-malformed``, ``request-contradictory``, ``backup-kind-unknown``.
    """

    label: str | None = None
    max_age_seconds: int | None = None
    kind: str | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in BACKUP_KINDS:
            raise Refused(
                "backup-kind-unknown",
                attempted=_ATTEMPTED,
                happened=f"{self.kind!r} is no kind of backup",
                remedy=f"Choose one of: {', '.join(BACKUP_KINDS)}.",
            )
        if self.label is not None:
            check_label(self.label)
        if self.max_age_seconds is not None and self.max_age_seconds <= 0:
            raise Refused(
                "max-age-malformed",
                attempted=_ATTEMPTED,
                happened=f"a maximal age of {self.max_age_seconds} seconds is met by no backup",
                remedy="Give an age above zero (24h, 7d), or none at all to take a backup every time.",
            )
        if self.label is not None and self.max_age_seconds is not None:
            raise Refused(
                "request-contradictory",
                attempted=_ATTEMPTED,
                happened="both a label and a maximal age are given: either may be satisfied by another backup",
                remedy="Give one of them.",
            )
