# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Reading whole indexes, on request: bloat as pgstatindex measures it, order and structure as amcheck proves them.

Meant for a restored copy, where the reading disturbs nobody; what cannot be had is named and the estimate stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ...core.errors import Failed
from ..finding import CRITICAL, MEASURED, Finding, Says
from ..session import Look
from .draft import REBUILD, Draft, draft
from .facts import Database, Index, dotted
from .limits import SOURCES, Limits

_PLACE = """
SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = %s
"""
_DENSITY = "SELECT index_size, avg_leaf_density, leaf_pages FROM {place}.pgstatindex(%s::bigint::regclass)"
_CHECK = "SELECT {place}.bt_index_check(%s::bigint::regclass, %s)"
#: Its own states of a damaged index (amcheck raises index_corrupted, and data_corrupted for rows without an entry).
_DAMAGED = ("XX001", "XX002")
#: What a rebuilt B-tree has, with fillfactor 90.
_FRESH_DENSITY = 90.0


def confirm(look: Look, database: Database, drafts: Iterable[Draft], limits: Limits) -> list[Draft]:
    """The drafts, with bloat (IX06) measured instead of estimated; what turns out to be none is left out."""
    drafts = list(drafts)
    estimated = [one for one in drafts if one.finding.name == "IX06"]
    if not estimated:
        return drafts
    place = _place(look, "pgstattuple")
    kept = []
    for one in drafts:
        measured = _measured(look, database, one, place, limits) if place and one in estimated else one
        if measured is not None:
            kept.append(measured)
    return kept


def _measured(look: Look, database: Database, one: Draft, place: str, limits: Limits) -> Draft | None:
    index = database.by_oid[one.index]
    name = dotted(index.schema, index.name)
    rows = look.ask(_DENSITY.format(place=place), [index.oid], what=f"density of {name}")
    if not rows or index.method != "btree":
        return one
    size, density = int(rows[0][0]), float(rows[0][1])
    share = max(0.0, 1 - density / _FRESH_DENSITY)
    if share < limits.bloat_share:
        return None
    wasted = size * share
    said = {**one.finding.says.values, "size_bytes": size, "wasted_bytes": wasted, "bloat_share": share}
    finding: Finding = replace(
        one.finding,
        grade=MEASURED,
        says=Says("IX06_exact", {**said, "density_share": density / 100}),
        value={"size_bytes": size, "wasted_bytes": round(wasted), "bloat_share": round(share, 4)},
        threshold={"value": limits.bloat_share, "source": SOURCES["bloat_share"]},
        impact={"bytes": round(wasted)},
        missing=(),
    )
    return replace(one, finding=finding)


def damaged(look: Look, database: Database) -> Iterator[Draft]:
    """IX15: B-trees whose order or structure is broken, each read from end to end, with the heap's rows held against
    it. Smallest first, so that a budget of time sees most of them."""
    trees = [
        index
        for index in database.indexes
        if index.method == "btree" and index.usable and not index.partitioned
    ]
    place = _place(look, "amcheck") if trees else None
    for index in sorted(trees, key=lambda one: one.pages) if place else ():
        fault = _fault(look, str(place), index)
        if fault:
            yield draft(
                database,
                "IX15",
                index,
                severity=CRITICAL,
                grade=MEASURED,
                key="IX15_damaged",
                values={"fault": fault},
                more={"aspect": "amcheck"},
                deed=REBUILD,
            )


def _fault(look: Look, place: str, index: Index) -> str | None:
    name = dotted(index.schema, index.name)
    try:
        look.read(_CHECK.format(place=place), [index.oid, True], what=f"amcheck of {name}")
    except Failed as error:
        if error.details.get("sqlstate") in _DAMAGED:
            return error.happened
        look.miss(f"amcheck of {name}", "error", error.happened)
    return None


def _place(look: Look, extension: str) -> str | None:
    found = look.ask(_PLACE, [extension], what=f"extension {extension}")
    if not found:
        look.miss(extension, "absent", f"CREATE EXTENSION {extension}")
        return None
    return str(found[0][0])
