# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""All known faults of backup and recovery, by id and by code. The pages docs/faults*.md are made from it."""

from __future__ import annotations

from . import archive, backups, copies, course, elsewhere, host, targets
from .fault import Fault

FAULTS: tuple[Fault, ...] = (
    *targets.FAULTS,
    *archive.FAULTS,
    *backups.FAULTS,
    *host.FAULTS,
    *course.FAULTS,
    *elsewhere.FAULTS,
    *copies.FAULTS,
)


def by_code() -> dict[str, tuple[Fault, ...]]:
    """Code -> the faults that end in it, in order of codes and ids."""
    codes = sorted({code for fault in FAULTS for code in fault.codes})
    return {code: tuple(fault for fault in FAULTS if code in fault.codes) for code in codes}
