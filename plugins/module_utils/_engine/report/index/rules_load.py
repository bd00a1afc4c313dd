# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Findings that need counters, sizes or column statistics: IX05, IX06, IX07, IX09, IX11. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..finding import HEURISTIC, HIGH, INSUFFICIENT, LOW, MEASURED, MEDIUM
from .cover import backs, needed
from .draft import CREATE, REBUILD, Create, Draft, draft, lack, write_rate
from .facts import Constraint, Database, Index, Table, dotted
from .history import Past
from .limits import SOURCES, Limits

#: pgx_scripts: at most one scan for a write and less than a tenth of the table's scans; more than 100 writes.
_SCANS_PER_WRITE, _SHARE_OF_SCANS, _WRITES = 1.0, 0.1, 100
#: A B-tree's page: header 24 and special space 16 bytes, 10 % left free; an entry's header 8 and line pointer 4 bytes.
_PAGE_OVERHEAD, _FILL, _ENTRY = 40, 0.9, 12


def rare(database: Database, past: Past, limits: Limits) -> Iterator[Draft]:
    """IX05: scanned now and then, paid for by every write; by differences over the window, never over a life time."""
    if past.window.seconds < limits.rare_seconds:
        return
    stays = needed(database)
    for oid, indexes in database.of_table.items():
        table = database.tables.get(oid)
        total = sum(past.scans.get(index.oid, 0) for index in indexes) or 0
        writes = past.writes.get(oid, 0)
        for index in indexes:
            scans = past.scans.get(index.oid)
            if table is None or not scans or index.unique or index.oid in stays or not index.usable:
                continue
            if (
                writes > _WRITES
                and scans <= _SCANS_PER_WRITE * writes
                and scans < _SHARE_OF_SCANS * total
                and database.bytes_of(index) >= limits.drop_bytes
            ):
                share = scans / total
                yield draft(
                    database,
                    "IX05",
                    index,
                    severity=LOW,
                    grade=HEURISTIC,
                    values={
                        "scans": scans,
                        "writes": writes,
                        "scan_share": share,
                        "window_seconds": past.window.seconds,
                        "size_bytes": database.bytes_of(index),
                    },
                    value={"scans": scans, "writes": writes, "scan_share": round(share, 6)},
                    threshold={"value": _SHARE_OF_SCANS, "source": "pgx_scripts, class a"},
                    impact={
                        "bytes": database.bytes_of(index),
                        "writes_per_second": writes / past.window.seconds,
                    },
                    window=past.window.shown(),
                )


def bloated(database: Database, past: Past, limits: Limits) -> Iterator[Draft]:
    """IX06: far larger than its entries need, by an estimate or by what it was at its own best."""
    for index in database.indexes:
        size = index.pages * database.block_bytes
        if index.partitioned or not index.usable or size < limits.bloat_bytes or index.rows <= 0:
            continue
        best = past.best_bytes_per_row.get(index.oid)
        need = _needed_bytes(database, index)
        share = 1 - need / size if need else None
        growth = size / index.rows / best if best else None
        if share is not None and share >= limits.bloat_share:
            key, threshold = "IX06", {"value": limits.bloat_share, "source": SOURCES["bloat_share"]}
            wasted = size - (need or 0)
        elif growth is not None and growth >= limits.growth_factor:
            key, threshold = (
                "IX06_growth",
                {"value": limits.growth_factor, "source": SOURCES["growth_factor"]},
            )
            wasted = size - size / growth
        else:
            continue
        yield draft(
            database,
            "IX06",
            index,
            severity=MEDIUM,
            grade=HEURISTIC,
            key=key,
            values={"size_bytes": size, "wasted_bytes": wasted, "bloat_share": share, "growth": growth},
            value={"size_bytes": size, "wasted_bytes": round(wasted), "bloat_share": share, "growth": growth},
            threshold=threshold,
            impact={"bytes": round(wasted)},
            deed=REBUILD,
            missing=(lack("exact-bloat", what=dotted(index.schema, index.name)),),
        )


def _needed_bytes(database: Database, index: Index) -> float | None:
    """What a fresh B-tree of as many entries would take; None where a width is not known. Without deduplication: an
    upper bound, so that an index with many equal entries is never called bloated for being compact."""
    if index.method != "btree":
        return None
    columns = database.columns.get(index.table, {})
    expressions = iter(database.widths.get((index.schema, index.name), ()))
    width = 0.0
    for key in index.keys:
        one = next(expressions, None) if key.expression is not None else _width(database, index, key.column)
        if one is None:
            return None
        width += one
    for number in index.include:
        column = columns.get(number)
        if column is None or column.width is None:
            return None
        width += column.width
    entry = -(-(width + 8) // 8) * 8 + _ENTRY - 8
    return float(index.rows * entry / _FILL / (1 - _PAGE_OVERHEAD / database.block_bytes))


def _width(database: Database, index: Index, number: int) -> int | None:
    column = database.columns.get(index.table, {}).get(number)
    return column.width if column else None


def foreign_keys(database: Database, past: Past, limits: Limits) -> Iterator[Draft]:
    """IX07: deleting or changing a row of the parent reads the whole child. Constraints of partitions are their
    parent's."""
    for constraint in database.constraints:
        child, parent = database.tables.get(constraint.table), database.tables.get(constraint.target)
        if constraint.kind != "f" or constraint.parent or child is None or parent is None:
            continue
        indexes = database.of_table.get(child.oid, ())
        if any(backs(database, index, constraint) for index in indexes):
            continue
        yield _unbacked(database, constraint, child, parent, past, limits)


def _unbacked(
    database: Database, constraint: Constraint, child: Table, parent: Table, past: Past, limits: Limits
) -> Draft:
    size = _heap_bytes(database, child)
    parent_writes = parent.deletes + max(0, parent.updates - parent.hot_updates)
    small = size < limits.small_table_bytes
    columns = [database.column_name(child.oid, number) for number in constraint.columns]
    return draft(
        database,
        "IX07",
        child,
        # An update reads the child only where it changes the key itself, which no counter tells: a delete always does.
        severity=LOW if small else HIGH if parent.deletes else MEDIUM,
        grade=MEASURED,
        key="IX07_small" if small else "IX07",
        values={
            "constraint": constraint.name,
            "columns": columns,
            "parent": dotted(parent.schema, parent.name),
            "parent_writes": parent_writes,
            "size_bytes": size,
            "rows": max(0, round(child.rows)),
        },
        value={"child_bytes": size, "parent_writes": parent_writes},
        threshold={"value": limits.small_table_bytes, "source": SOURCES["small_table_bytes"]},
        impact={"bytes": size, "writes_per_second": write_rate(database, parent)},
        more={"constraint": constraint.name},
        deed=CREATE,
        create=Create(child.oid, constraint.columns),
    )


def _heap_bytes(database: Database, table: Table) -> int:
    if table.kind != "p":
        return table.pages * database.block_bytes
    parts = [one for one in database.tables.values() if one.parent == table.oid]
    return sum(_heap_bytes(database, part) for part in parts)


def partial(database: Database, limits: Limits) -> Iterator[Draft]:
    """IX09: most entries are of one value, or of none, which nobody looks for by an index."""
    stays = needed(database)
    for index in database.indexes:
        table = database.tables.get(index.table)
        if (
            table is None
            or index.unique
            or index.oid in stays
            or index.predicate is not None
            or not index.usable
            or index.method != "btree"
            or index.rows < limits.partial_rows
        ):
            continue
        column = database.columns.get(index.table, {}).get(index.keys[0].column)
        if column is None:
            continue
        if (column.null_share or 0) >= limits.null_share:
            key, share, limit = "IX09_nulls", column.null_share or 0, limits.null_share
        # With further keys rows are found by them even where the first is the same in nearly all.
        elif len(index.keys) == 1 and (column.common_share or 0) >= limits.common_share:
            key, share, limit = "IX09_common", column.common_share or 0, limits.common_share
        else:
            continue
        size = database.bytes_of(index)
        yield draft(
            database,
            "IX09",
            index,
            severity=LOW,
            grade=HEURISTIC,
            key=key,
            values={
                "column": column.name,
                "row_share": share,
                "size_bytes": size,
                "saved_bytes": size * share,
            },
            value={"row_share": share, "size_bytes": size},
            threshold={
                "value": limit,
                "source": SOURCES["null_share" if key == "IX09_nulls" else "common_share"],
            },
            impact={"bytes": round(size * share)},
            missing=(lack("no-query-asks", column=column.name),),
        )


def amplified(database: Database, past: Past, limits: Limits) -> Iterator[Draft]:
    """IX11: a written table whose indexes take more writing than itself, or whose updates cannot be HOT."""
    written = sorted(past.writes.get(oid, 0) for oid in database.tables)
    busy = written[int(len(written) * 0.9)] if written else 0
    for oid, table in database.tables.items():
        writes = past.writes.get(oid, 0)
        if table.kind == "p" or not table.pages or table.rows <= 0 or writes < max(busy, _WRITES):
            continue
        indexes = [index for index in database.of_table.get(oid, ()) if index.ready]
        size = sum(index.pages for index in indexes) * database.block_bytes
        heap = table.pages * database.block_bytes
        updates, hot = past.updates.get(oid, (0, 0))
        hot_share = hot / updates if updates > _WRITES else None
        blocked = hot_share is not None and hot_share < limits.hot_share
        if size / heap < limits.amplification and not blocked:
            continue
        yield draft(
            database,
            "IX11",
            table,
            severity=LOW,
            grade=MEASURED if past.window.seconds else INSUFFICIENT,
            key="IX11_hot" if blocked else "IX11",
            values={
                "size_bytes": size,
                "heap_bytes": heap,
                "ratio": size / heap,
                "writes": writes,
                "hot_share": hot_share,
                "count": len(indexes),
            },
            value={"index_bytes": size, "heap_bytes": heap, "writes": writes, "hot_share": hot_share},
            threshold={
                "value": limits.hot_share if blocked else limits.amplification,
                "source": SOURCES["hot_share" if blocked else "amplification"],
            },
            impact={
                "bytes": size,
                "writes_per_second": writes / past.window.seconds if past.window.seconds else None,
            },
            window=past.window.shown(),
        )
