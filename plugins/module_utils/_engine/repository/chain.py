# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Chains of incremental backups: a full one and what was built on it, each link on the one before. Pure.

An incremental backup holds the blocks that changed since its parent began, and is worth nothing without it.
pg_combinebackup compares positions only (PostgreSQL manual, "pg_combinebackup"): whether every link is there, is
the one that was meant, and has pages of the same kind is settled here, before anything is fetched (fault A17).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.errors import Refused

if TYPE_CHECKING:
    from .catalog import Backup

FULL = "full"
INCREMENTAL = "incremental"
KINDS = (FULL, INCREMENTAL)

_REMEDY = "Choose another backup (dbkeeper info lists them), or bring the missing one back from a copy."


def chain(backup: Backup, known: Mapping[str, Backup]) -> tuple[Backup, ...]:
    """All backups that a restore from ``backup`` needs, the full one first, ``backup`` itself last.

    Raises :class:`Refused`: ``chain-broken`` (a link is missing, expired, failed or another one than was built on),
    ``chain-checksums-changed``.
    """
    links = [backup]
    while links[-1].kind != FULL:
        links.append(_parent(backup, links[-1], known))
        if len(links) > len(known):
            raise _broken(backup, links[-1].label, "the chain leads back to itself")
    links.reverse()
    for link in links[1:]:
        if _differ(links[0].data_checksums, link.data_checksums):
            raise Refused(
                "chain-checksums-changed",
                attempted=f"use backup {backup.label}",
                happened=f"data checksums are {_word(links[0].data_checksums)} in {links[0].label} and "
                f"{_word(link.data_checksums)} in {link.label}: what is combined from both has pages whose checksums "
                "are wrong",
                remedy="Nothing was touched. Choose another backup (dbkeeper info lists them); the next one is taken "
                "in full by itself.",
                details={"chain": [one.label for one in links]},
            )
    return tuple(links)


def dependents(label: str, known: Mapping[str, Backup]) -> tuple[str, ...]:
    """The labels of all incremental backups that need ``label``, directly or not, oldest first."""
    found: list[str] = []
    wanted = {label}
    for other in sorted(known.values(), key=lambda item: (item.started_at, item.label)):
        if other.kind != FULL and other.parent in wanted:
            wanted.add(other.label)
            found.append(other.label)
    return tuple(found)


def _parent(backup: Backup, link: Backup, known: Mapping[str, Backup]) -> Backup:
    label = link.parent or ""
    parent = known.get(label)
    if parent is None:
        raise _broken(backup, label, f"{link.label} is built on it, and it is not in the catalog")
    if not parent.verified:
        raise _broken(backup, label, f"{link.label} is built on it, and its status is {parent.status}")
    if (parent.system_id, parent.timeline, parent.major) != (link.system_id, link.timeline, link.major):
        raise _broken(backup, label, f"it is not of the system, timeline and version of {link.label}")
    if link.parent_manifest not in (None, parent.stored_digest("backup_manifest")):
        raise _broken(backup, label, f"it is not the backup of that label that {link.label} was built on")
    return parent


def _differ(one: bool | None, other: bool | None) -> bool:
    return one is not None and other is not None and one != other


def _word(value: bool | None) -> str:
    return "on" if value else "off"


def _broken(backup: Backup, label: str, why: str) -> Refused:
    return Refused(
        "chain-broken",
        attempted=f"use backup {backup.label}",
        happened=f"it is incremental, and its chain is broken at {label or 'its parent'}: {why}",
        remedy=f"Nothing was touched. {_REMEDY}",
        details={"label": backup.label, "link": label},
    )
