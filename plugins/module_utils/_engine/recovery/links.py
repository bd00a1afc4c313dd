# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The links of a chain, staged: each backup of it in a directory of its own, proven as a whole one would be.

A tablespace's part of a link lies beside the directory that the tablespace will have, on its file system.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from ..backup.copy import stop_strangers
from ..core.files import remove_tree
from ..repository.engine import BackupEngine
from .host import RESTORED_MARKER
from .plan import RestorePlan

COMBINED = "combined"
#: Both read and write below our directories only, and outlive a dbkeeper that was killed.
_PROGRAMS = ("pg_combinebackup", "pg_verifybackup")


def link_directory(plan: RestorePlan, number: int) -> str:
    """Where one link's data directory is staged; 0 is the full backup."""
    return f"{plan.work_directory}/links/{number}"


def link_tablespaces(plan: RestorePlan, number: int) -> dict[int, str]:
    """Tablespace -> where its part of a link is staged."""
    targets = {int(move["oid"]): str(move["target"]) for move in plan.tablespaces}
    found = {}
    for oid in plan.chain[number]["tablespaces"]:
        target = targets.get(oid, "")
        beside = RESTORED_MARKER in os.path.basename(target)
        found[oid] = (
            f"{target}.link-{number}" if beside else f"{plan.work_directory}/links/{number}-tablespaces/{oid}"
        )
    return found


def fetch_links(plan: RestorePlan, engine: BackupEngine, progress: Callable[[int], None]) -> None:
    """Every link, held against its own manifest; what a server needs to start is not made of it here."""
    done = 0

    def told(count: int) -> None:
        progress(done + count)

    for number, link in enumerate(plan.chain):
        fetched = engine.fetch_backup(
            str(link["label"]),
            link_directory(plan, number),
            tablespace_map=link_tablespaces(plan, number),
            progress=told,
            durable=False,
            as_link=True,
        )
        done += fetched.plain_bytes


def stop_programs(plan: RestorePlan) -> None:
    """End what a killed run left at work on them."""
    stop_strangers(plan.work_directory, _PROGRAMS)


def discard_links(plan: RestorePlan) -> None:
    """Remove all links."""
    stop_programs(plan)
    for number in range(len(plan.chain)):
        for directory in link_tablespaces(plan, number).values():
            if RESTORED_MARKER in os.path.basename(directory):
                remove_tree(directory, made_by_us=RESTORED_MARKER)
    shutil.rmtree(f"{plan.work_directory}/links", ignore_errors=True)
