# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What of a repository is sent to a copy that has a retention of its own: what that would not remove again. Pure.

What the copy keeps is judged by what lies in the copy. So what is sent is judged by what will lie there afterwards:
nothing that is left out counts as evidence, not for the age of what is sent either. Nor does what the copy's own expiry
removes at once: a segment of a day on which the clock was wrong makes what came after it look young only as long as it
is there. Leaving something out changes that judgement; it is made again until nothing more is left out, and then it is
the very one of the copy's own expiry, of this run and of those that follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..cluster.wishes_copies import CopyPolicy
from .choice import unlisted
from .keep import plan_keep
from .lived import LIVED, remembered
from .objects import Group
from .plan import ADOPT, SEND, make_plan
from .sheets import GOING, WHOLE, Kept, Sheet


def foreseen(
    groups: Sequence[Group], sheets: Mapping[str, Sheet], there: Mapping[str, int], suffix: str
) -> dict[str, Sheet]:
    """The sheets of a copy as they are when all of these have been sent; see :func:`make_plan`."""
    found = dict(sheets)
    for one in make_plan(groups, sheets, there, suffix).groups:
        objects = dict(one.sheet.objects)
        for deed in one.deeds:
            if deed.what in (SEND, ADOPT):
                item = deed.item
                name = f"{item.key}{suffix}"
                objects[item.key] = Kept(
                    name, item.bytes, "", item.bytes, "", item.signature, item.modified_at
                )
        found[one.group.name] = replace(
            one.sheet, state=WHOLE, facts=one.group.facts or one.sheet.facts, objects=objects
        )
    return found


def settled(
    sheets: Mapping[str, Sheet], there: Mapping[str, int], policy: CopyPolicy
) -> tuple[set[str], set[str]]:
    """The groups and the keys of WAL that expiry after expiry removes, until nothing more goes."""
    left, loose = dict(sheets), unlisted(sheets, there)
    gone: set[str] = set()
    lost: set[str] = set()
    while True:
        plan = plan_keep(policy.base, policy.dumps, left, loose)
        if not plan.groups and not plan.wal:
            return gone, lost
        gone.update(plan.groups)
        lost.update(plan.wal)
        left = {name: one.without(lost) for name, one in left.items() if name not in gone}
        left[LIVED] = remembered(plan.lived, plan.before)
        loose = {key: size for key, size in loose.items() if key not in lost}


def sieve(
    groups: Sequence[Group],
    sheets: Mapping[str, Sheet],
    there: Mapping[str, int],
    suffix: str,
    policy: CopyPolicy,
) -> list[Group]:
    """Those of the groups, with those of their items, of which the copy's own retention removes nothing once they are
    there."""
    # What the copy is removing is not sent while it is, and counts for nothing.
    left = [one for one in groups if one.name not in sheets or sheets[one.name].state != GOING]
    while True:
        gone, lost = settled(foreseen(left, sheets, there, suffix), there, policy)
        kept = []
        for group in left:
            items = tuple(item for item in group.items if item.key not in lost)
            if group.name not in gone and items:
                kept.append(group if len(items) == len(group.items) else replace(group, items=items))
        if kept == left:
            return kept
        left = kept
