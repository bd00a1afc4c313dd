# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What has to be sent: what the repository has, held against the sheets of a copy and what lies there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .objects import WAL, Group, Item
from .sheets import GOING, WHOLE, Sheet

#: It is not there. It is there and on no sheet: looked at, sent when it cannot be. It may have changed: looked at.
#: It is on a sheet and encrypted: what lies there is held against the sheet.
SEND, ADOPT, COMPARE, CONFLICT, LOOK = "send", "adopt", "compare", "conflict", "look"


@dataclass(frozen=True)
class Deed:
    """What is to be done with one item."""

    item: Item
    what: str


@dataclass(frozen=True)
class GroupPlan:
    """The deeds of a group. ``sheet`` is the one to go on with; ``fresh``: nothing of it counts there yet."""

    group: Group
    sheet: Sheet
    deeds: tuple[Deed, ...]
    fresh: bool

    @property
    def bytes(self) -> int:
        """To be sent, as far as is known before looking."""
        return sum(deed.item.bytes for deed in self.deeds if deed.what in (SEND, ADOPT))


@dataclass(frozen=True)
class CopyPlan:
    """All groups that need something, in order."""

    groups: tuple[GroupPlan, ...]
    objects: int

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.groups)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: counts and bytes of what is sent, and the names of backups and dumps."""
        sent = [deed for one in self.groups for deed in one.deeds if deed.what in (SEND, ADOPT)]
        named = [one.group.name for one in self.groups if one.fresh and one.group.kind not in (WAL, "papers")]
        return {
            "objects": self.objects,
            "send": len(sent),
            "send_bytes": sum(deed.item.bytes for deed in sent),
            "compare": sum(deed.what == COMPARE for one in self.groups for deed in one.deeds),
            "conflicts": [
                deed.item.key for one in self.groups for deed in one.deeds if deed.what == CONFLICT
            ],
            "groups": named,
        }


def make_plan(
    groups: Sequence[Group],
    sheets: Mapping[str, Sheet],
    there: Mapping[str, int],
    suffix: str,
    *,
    check_all: bool = False,
) -> CopyPlan:
    """``there``: name -> bytes of all finished objects in the copy; ``suffix``: of encrypted ones.

    ``check_all``: digests of everything are taken again in the copy.
    """
    plans = []
    for group in groups:
        sheet = sheets.get(group.name)
        if sheet is not None and sheet.state == GOING:
            # The copy's own retention is removing it: it is not sent again while it is.
            continue
        known = sheet or Sheet(group.name, group.kind, facts=group.facts)
        deeds = tuple(
            deed for item in group.items if (deed := _deed(item, known, there, suffix, check_all)) is not None
        )
        if deeds or known.state != WHOLE:
            fresh = known.state != WHOLE and f"{group.items[-1].key}{suffix}" not in there
            plans.append(GroupPlan(group, known, deeds, fresh))
    return CopyPlan(tuple(plans), sum(len(group.items) for group in groups))


def _deed(item: Item, sheet: Sheet, there: Mapping[str, int], suffix: str, check_all: bool) -> Deed | None:
    name = f"{item.key}{suffix}"
    kept = sheet.objects.get(item.key)
    if kept is None:
        return Deed(item, ADOPT if name in there and not suffix else SEND)
    if there.get(kept.name) != kept.bytes:
        return Deed(item, SEND)
    if check_all and not suffix:
        return Deed(item, ADOPT)
    same = Deed(item, LOOK) if check_all else None
    if kept.signature == item.signature:
        return same
    if item.digest is not None:
        return same if item.digest == kept.plain_digest else Deed(item, CONFLICT)
    return Deed(item, COMPARE)
