# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy's own retention, carried out: proven, marked, taken out of sight, deleted, WAL last.

A crash at any of these leaves objects that nobody lists; the next run removes them.
"""

from __future__ import annotations

from typing import Any

from ..cluster.wishes_copies import CopyPolicy
from .choice import unlisted
from .execute import Watch
from .keep import KeepPlan, marked, plan_keep, prove_keep
from .lived import remembered
from .objects import BASE, wal_group
from .sheets import Sheet
from .stores import GOING as ASIDE
from .stores import Store

_ENTRIES = {"base": "backup.json", "dump": "dump.json"}


def expire_copy(
    store: Store,
    policy: CopyPolicy,
    sheets: dict[str, Sheet],
    there: dict[str, int],
    *,
    check: bool,
    watch: Watch,
) -> dict[str, Any]:
    """Remove from a copy what its policy does not want; ``sheets`` is brought up to date.

    Raises :class:`Refused` ``expiry-unsafe`` and what the store raises.
    """
    loose = unlisted(sheets, there)
    plan = plan_keep(policy.base, policy.dumps, sheets, loose)
    prove_keep(plan, sheets, loose)
    if not check:
        if plan.groups or plan.wal:
            sheet = remembered(plan.lived, plan.before)
            watch(f"remember {sheet.group}")
            store.write(sheet.key, sheet.to_bytes())
            sheets[sheet.group] = sheet
        for name in plan.groups:
            _group(store, sheets, name, watch)
        _wal(store, sheets, plan, watch)
    return {
        "changed": bool(plan.groups or plan.wal),
        "groups": list(plan.groups),
        "wal": len(plan.wal),
        "freed_bytes": plan.freed_bytes,
        "kept": dict(plan.why),
    }


def _group(store: Store, sheets: dict[str, Sheet], name: str, watch: Watch) -> None:
    sheet = sheets[name]
    watch(f"mark {name}")
    store.write(sheet.key, marked(sheet).to_bytes())
    aside = f"{name.rpartition('/')[0]}/{ASIDE}{name.rpartition('/')[2]}"
    if store.renames:
        watch(f"aside {name}")
        store.clear(aside)
        if store.names(name):
            store.move(name, aside)
        watch(f"clear {name}")
        store.clear(aside)
    else:
        entry = f"{name}/{_ENTRIES['base' if sheet.kind == BASE else 'dump']}"
        # What makes it count goes first.
        for kept in sorted(sheet.objects.values(), key=lambda one: not one.name.startswith(entry)):
            watch(f"delete {kept.name}")
            store.delete(kept.name)
        store.clear(name)
    watch(f"forget {name}")
    store.delete(sheet.key)
    del sheets[name]


def _wal(store: Store, sheets: dict[str, Sheet], plan: KeepPlan, watch: Watch) -> None:
    groups: dict[str, set[str]] = {}
    for key in plan.wal:
        groups.setdefault(wal_group(key), set()).add(key)
    for name, keys in groups.items():
        sheet = sheets.get(name)
        lying = [sheet.objects[key].name if sheet and key in sheet.objects else key for key in sorted(keys)]
        if sheet is not None:
            # What is on no list any more, and still there after a crash, is found by looking.
            watch(f"sheet {name}")
            left = sheet.without(keys)
            sheets[name] = left
            if left.objects:
                store.write(sheet.key, left.to_bytes())
            else:
                store.delete(sheet.key)
                del sheets[name]
        for stored in lying:
            watch(f"wal {stored}")
            store.delete(stored)
