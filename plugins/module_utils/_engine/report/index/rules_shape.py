# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Findings that the catalogs prove by themselves: IX01, IX02, IX03, IX12, IX14, IX15, IX16. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..finding import CRITICAL, HEURISTIC, HIGH, INFO, INSUFFICIENT, LOW, MEASURED, MEDIUM, Finding, Says
from .cover import ORDERED, SIZE_RATIO, Cover, covers, drops, needed, settled
from .draft import COMPLETE, DROP, NONE, REBUILD, Draft, draft, lack, write_rate
from .facts import Collation, Database, Index, dotted, needed_not_null, never_null, quoted, thing
from .history import Past, name_of
from .limits import SOURCES, Limits

_BOOLEAN = 16
_ANY_ARRAY = 2277


def invalid(database: Database, past: Past) -> Iterator[Draft]:
    """IX01: left over by a CREATE or REINDEX that did not end; maintained by every write, read by nobody."""
    stays = needed(database)
    for index in database.indexes:
        if index.usable or index.oid in database.building or index.table in database.building:
            continue
        grade, missing = (
            (MEASURED, ())
            if name_of(index) in past.invalid_before
            else (INSUFFICIENT, (lack("second-run", what=dotted(index.schema, index.name)),))
        )
        common: dict[str, Any] = {
            "severity": HIGH,
            "grade": grade,
            "missing": missing,
            "impact": {"bytes": database.bytes_of(index)},
        }
        if index.partitioned:
            # What is below another one is made whole with it.
            if not index.parent:
                yield draft(database, "IX01", index, key="IX01_partitioned", deed=COMPLETE, **common)
            continue
        whole = index._replace(valid=True, ready=True)
        twin = next((by for by in database.of_table.get(index.table, ()) if covers(by, whole)), None)
        leftover = index.name.rstrip("0123456789").endswith(("_ccnew", "_ccold"))
        if stays.get(index.oid) is None and (twin or leftover or index.schema == "pg_toast"):
            cover = dotted(twin.schema, twin.name) if twin else ""
            key = "IX01" if twin else "IX01_leftover"
            yield draft(database, "IX01", index, key=key, values={"cover": cover}, deed=DROP, **common)
        else:
            yield draft(database, "IX01", index, key="IX01_rebuild", deed=REBUILD, **common)


def redundant(database: Database, limits: Limits) -> Iterator[Draft]:
    """IX02 and IX03: another index does all its work, and stays. As one set: safe in any order, and told in one."""
    for order, cover in enumerate(settled(drops(database)), 1):
        index, by = cover.gone, cover.by
        size, larger = database.bytes_of(index), database.bytes_of(by)
        scans = sum(leaf.scans for leaf in database.leaves(index))
        key, threshold = _doubt(database, cover, scans)
        costly = key != cover_key(cover)
        if index.partitioned and not costly:
            key = f"{key}_partitioned"
        yield draft(
            database,
            "IX02" if cover.exact else "IX03",
            index,
            severity=LOW if costly else MEDIUM,
            grade=HEURISTIC if costly else MEASURED,
            key=key,
            values={
                "cover": dotted(by.schema, by.name),
                "size_bytes": size,
                "cover_bytes": larger,
                "scans": scans,
            },
            value={"size_bytes": size, "cover_bytes": larger, "scans": scans},
            threshold=threshold,
            impact={
                "bytes": size,
                "writes_per_second": write_rate(database, database.tables.get(index.table)),
            },
            deed=DROP,
            by=by.oid,
            order=order,
        )


def cover_key(cover: Cover) -> str:
    """The class of a drop that leaves nothing to be desired."""
    return "IX02" if cover.exact else "IX03"


def _doubt(database: Database, cover: Cover, scans: int) -> tuple[str, dict[str, Any]]:
    """The key of what is said, and the threshold: whether plans lose estimates with it, or its scans may cost more by
    the one that stays."""
    index, by = cover.gone, cover.by
    threshold = {"value": SIZE_RATIO, "source": SOURCES["size_ratio"]}
    if not set(index.statistics) <= set(by.statistics):
        return f"{cover_key(cover)}_statistics", {}
    if cover.exact or not scans:
        return cover_key(cover), {} if cover.exact else threshold
    if database.bytes_of(by) > SIZE_RATIO * max(database.bytes_of(index), database.block_bytes):
        return "IX03_larger", threshold
    column = database.columns.get(index.table, {}).get(index.keys[0].column)
    order = abs(column.correlation or 0.0) if column else 0.0
    if len(index.keys) == 1 and len(by.keys) > 1 and order >= ORDERED:
        return "IX03_ordered", {"value": ORDERED, "source": SOURCES["ordered"]}
    return "IX03", threshold


def questionable(database: Database) -> Iterator[Draft]:
    """IX12: an index whose kind does not fit what it holds."""
    for index in database.indexes:
        if index.parent or not index.usable:
            continue
        first = index.keys[0]
        if index.method == "btree" and first.type == _ANY_ARRAY:
            yield draft(database, "IX12", index, severity=INFO, grade=HEURISTIC, key="IX12_array")
        elif (
            index.method == "btree"
            and len(index.keys) == 1
            and first.type == _BOOLEAN
            and index.predicate is None
            and not index.unique
        ):
            yield draft(database, "IX12", index, severity=INFO, grade=HEURISTIC, key="IX12_boolean")
        number = needed_not_null(index.predicate)
        column = database.columns.get(index.table, {}).get(number or 0)
        if column and column.not_null:
            values = {"column": column.name}
            yield draft(
                database, "IX12", index, severity=INFO, grade=MEASURED, key="IX12_predicate", values=values
            )


def unique_ones(database: Database, past: Past, limits: Limits) -> Iterator[Draft]:
    """IX14: unique indexes that guard but are not read, or that let nulls through. Never something to drop."""
    for index in database.indexes:
        if not index.unique or index.parent or not index.usable:
            continue
        idle = past.idle.get(index.oid)
        scans = sum(leaf.scans for leaf in database.leaves(index))
        if scans == 0 and idle and database.bytes_of(index) >= limits.drop_bytes:
            yield draft(
                database,
                "IX14",
                index,
                severity=INFO,
                grade=MEASURED,
                key="IX14_unread",
                values={"size_bytes": database.bytes_of(index)},
                impact={"bytes": database.bytes_of(index)},
            )
        columns = database.columns.get(index.table, {})
        given = never_null(index.predicate)
        nullable = [
            columns[key.column].name
            for key in index.keys
            if key.column in columns and not columns[key.column].not_null and key.column not in given
        ]
        if nullable and not index.nulls_not_distinct:
            yield draft(
                database,
                "IX14",
                index,
                severity=INFO,
                grade=MEASURED,
                key="IX14_nullable",
                values={"columns": nullable},
                more={"aspect": "nullable"},
            )


def collations(database: Database) -> Iterator[Draft]:
    """IX15: text was sorted by another version of the library than the one that searches now."""
    for collation in database.collations:
        # oid 100 is "default": the collation of the database itself.
        oid = collation.oid or 100
        touched = [index for index in database.indexes if any(key.collation == oid for key in index.keys)]
        leaves = [index for index in touched if not index.partitioned]
        if not leaves:
            continue
        what = (
            thing("collation", collation.schema, collation.name)
            if collation.oid
            else thing("database", "", database.name)
        )
        called = dotted(collation.schema, collation.name) if collation.oid else database.name
        size = sum(index.pages for index in leaves) * database.block_bytes
        finding = Finding(
            name="IX15",
            system_id=database.system_id,
            severity=CRITICAL,
            grade=MEASURED,
            database=database.name,
            thing=what,
            says=Says(
                "IX15" if collation.oid else "IX15_database",
                {
                    "collation": called,
                    "recorded": collation.recorded,
                    "actual": collation.actual,
                    "count": len(leaves),
                    "size_bytes": size,
                    "indexes": [dotted(index.schema, index.name) for index in leaves[:10]],
                },
            ),
            nodes=(database.node,),
            value={"indexes": len(leaves), "size_bytes": size},
            threshold={
                "value": collation.recorded,
                "source": "pg_collation.collversion, pg_database.datcollversion",
            },
            impact={"bytes": size},
            action=_sorted_again(database, collation, leaves),
        )
        yield Draft(finding, NONE)


def _sorted_again(database: Database, collation: Collation, leaves: list[Index]) -> tuple[str, ...]:
    """All that was sorted by the old version is built again; only then is the new one recorded as that of the data."""
    rebuilt = [
        f"REINDEX INDEX {'' if index.exclusion else 'CONCURRENTLY '}{quoted(index.schema, index.name)};"
        for index in sorted(leaves, key=lambda one: (one.pages, one.oid))
    ]
    name = quoted(collation.schema, collation.name) if collation.oid else quoted(database.name)
    noted = (
        f"ALTER COLLATION {name} REFRESH VERSION;"
        if collation.oid
        else f"ALTER DATABASE {name} REFRESH COLLATION VERSION;"
    )
    return (*rebuilt, noted)


def too_many(database: Database, limits: Limits) -> Iterator[Draft]:
    """IX16: more indexes than a table can reasonably need, by count or by size."""
    for oid, indexes in database.of_table.items():
        table = database.tables.get(oid)
        if table is None or table.parent:
            continue
        size = sum(database.bytes_of(index) for index in indexes)
        heap = table.pages * database.block_bytes
        common: dict[str, Any] = {
            "severity": INFO,
            "grade": MEASURED,
            "value": {"indexes": len(indexes), "size_bytes": size, "heap_bytes": heap},
            "impact": {"bytes": size, "writes_per_second": write_rate(database, table)},
            "values": {"count": len(indexes), "size_bytes": size, "heap_bytes": heap},
        }
        if len(indexes) > limits.index_count:
            threshold = {"value": limits.index_count, "source": SOURCES["index_count"]}
            yield draft(database, "IX16", table, key="IX16_count", threshold=threshold, **common)
        elif heap >= limits.ratio_table_bytes and size > limits.index_heap_ratio * heap:
            threshold = {"value": limits.index_heap_ratio, "source": SOURCES["index_heap_ratio"]}
            yield draft(database, "IX16", table, key="IX16_bytes", threshold=threshold, **common)
