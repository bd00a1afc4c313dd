# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the owner of the data asks for, and who is told when it is not met: the part of a description about knowing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .reader import Reader, as_object


@dataclass(frozen=True)
class Objectives:
    """How much may be lost, how long a restore may take, and how old what is there may become.

    ============================ ==========================================================================
    ``rpo_seconds``              work that may be lost
    ``rto_seconds``              how long a restore may take
    ``backup_age_seconds``       newest good base backup of any kind: a day and six hours
    ``full_backup_age_seconds``  newest good full one; None: twice ``backup.full_interval_seconds``
    ``dump_age_seconds``         newest good one of each dump that is described
    ``verification_age_seconds`` last time that what is stored was read and found good
    ``trial_age_seconds``        last time that a dump was loaded and its rows proven; None: not asked for
    ``free_days``                how long the repository's disk must last at the pace of the last days
    ============================ ==========================================================================
    """

    rpo_seconds: int = 900
    rto_seconds: int = 1800
    backup_age_seconds: int = 108000
    full_backup_age_seconds: int | None = None
    dump_age_seconds: int = 108000
    verification_age_seconds: int = 691200
    trial_age_seconds: int | None = None
    free_days: int = 14

    def to_dict(self) -> dict[str, int | None]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Notify:
    """Who is told. ``file`` holds the channels with their secrets; nobody but the cluster's owner may read it."""

    file: str


def read_objectives(value: Any, source: str) -> Objectives:
    """Raises :class:`Refused` ``config-malformed``."""
    read = Reader(as_object(value, source, "objectives"), source, "objectives.")
    found = Objectives(
        rpo_seconds=read.number("rpo_seconds", 1, default=Objectives.rpo_seconds),
        rto_seconds=read.number("rto_seconds", 1, default=Objectives.rto_seconds),
        backup_age_seconds=read.number("backup_age_seconds", 1, default=Objectives.backup_age_seconds),
        full_backup_age_seconds=read.optional(lambda key: read.number(key, 1), "full_backup_age_seconds"),
        dump_age_seconds=read.number("dump_age_seconds", 1, default=Objectives.dump_age_seconds),
        verification_age_seconds=read.number(
            "verification_age_seconds", 1, default=Objectives.verification_age_seconds
        ),
        trial_age_seconds=read.optional(lambda key: read.number(key, 1), "trial_age_seconds"),
        free_days=read.number("free_days", 1, default=Objectives.free_days),
    )
    read.finish()
    return found


def read_notify(value: Any, source: str) -> Notify:
    """Raises :class:`Refused` ``config-malformed``."""
    read = Reader(as_object(value, source, "notify"), source, "notify.")
    found = Notify(read.path("file"))
    read.finish()
    return found
