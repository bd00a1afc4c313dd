# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Checks of what fills up or runs out: transaction numbers, dead rows, bloat, sequences, disks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..finding import HEURISTIC, MEASURED, Finding
from .frame import Facts, Row, severity_of, tell

#: Where the server stops taking writes; what is left of 2^31 then is a reserve of three million.
STOPS_AT = float((1 << 31) - 3_000_000)
#: Of a tuple: its header and line pointer, rounded up as the server rounds (source: manual, "Database Page Layout").
_TUPLE_HEAD, _LINE_POINTER, _PAGE_HEAD, _ALIGN = 24, 4, 24, 8


def wraparound(facts: Facts) -> Iterator[Finding]:
    """HC17, HC18: how far the oldest transaction and MultiXact are from where the server stops, for each database."""
    for name, measure, setting in (
        ("HC17", "xid_age", "autovacuum_freeze_max_age"),
        ("HC18", "mxid_age", "autovacuum_multixact_freeze_max_age"),
    ):
        forced_at = facts.number(setting)
        for row in facts.rows("databases"):
            age = float(row[measure])
            share, freeze = age / STOPS_AT, age / forced_at if forced_at else 0.0
            limit, late = facts.limits["xid_share"], facts.limits["freeze_share"]
            level, held = limit.level(share), late.level(freeze)
            if not level and not held:
                continue
            tables = _oldest_tables(facts, str(row["name"]), measure)
            value = {
                "age": int(age),
                "used_share": share,
                "freeze_share": freeze,
                "left": int(STOPS_AT - age),
                "tables": [one["shown"] for one in tables] or ["-"],
            }
            yield tell(
                facts,
                name,
                severity_of(level, urgent=True) if level else severity_of(str(held)),
                {"kind": "database", "name": row["name"]},
                value,
                limit=limit if level else late,
                database=str(row["name"]),
                action=tuple(f"VACUUM (FREEZE, VERBOSE) {one['quoted']}" for one in tables),
            )


def _oldest_tables(facts: Facts, database: str, measure: str) -> list[dict[str, str]]:
    rows = [row for one in facts.databases if one["name"] == database for row in one["tables"] or []]
    rows = sorted(rows, key=lambda row: -int(row[measure] or 0))[:3]
    return [{"shown": f"{row['schema']}.{row['name']}", "quoted": quoted(row)} for row in rows]


def horizon(facts: Facts) -> Iterator[Finding]:
    """HC19: who keeps old row versions from being removed, by the oldest transaction that it may still see."""
    holders: list[tuple[float, dict[str, Any], str]] = []
    for row in facts.rows("sessions"):
        thing = {"kind": "session", "name": f"{row['user'] or row['kind']}: {row['application'] or '-'}"}
        holders.append((_age(row, "xmin_age", "xid_age"), thing, str(row["database"] or "")))
    for row in facts.rows("slots"):
        thing = {"kind": "slot", "name": row["name"]}
        holders.append((_age(row, "xmin_age", "catalog_xmin_age"), thing, str(row["database"] or "")))
    for row in facts.rows("prepared"):
        holders.append(
            (_age(row, "xmin_age"), {"kind": "prepared transaction", "name": row["gid"]}, row["database"])
        )
    for row in facts.rows("standbys"):
        thing = {"kind": "standby", "name": str(row["application_name"] or row["client_addr"] or "-")}
        holders.append((_age(row, "xmin_age"), thing, ""))
    if not holders:
        return
    age, thing, database = max(holders, key=lambda one: one[0])
    limit = facts.limits["xmin_age"]
    level = limit.level(age)
    if level:
        yield tell(
            facts, "HC19", severity_of(level), thing, {"age": int(age)}, limit=limit, database=database
        )


def _age(row: Row, *names: str) -> float:
    return max((float(row[name]) for name in names if row.get(name) is not None), default=0.0)


def dead_rows(facts: Facts) -> Iterator[Finding]:
    """HC20: tables whose dead rows are many, and that are not vacuumed although they should be."""
    limit = facts.limits["dead_share"]
    for database, row in _tables(facts):
        live, dead = float(row["live"] or 0), float(row["dead"] or 0)
        size = float(row["pages"]) * facts.block_bytes
        share = dead / (live + dead) if live + dead else 0.0
        level = limit.level(share)
        waste = size * share
        if not level or facts.limits["dead_bytes"].level(waste) is None:
            continue
        due = vacuum_threshold(facts, row)
        late = dead > 2 * due and (row["vacuumed_seconds"] is None or row["vacuumed_seconds"] > 86400)
        value = {
            "dead": int(dead),
            "dead_share": share,
            "waste_bytes": int(waste),
            "vacuumed_seconds": row["vacuumed_seconds"],
            "threshold_rows": int(due),
            "late": late,
        }
        yield tell(
            facts,
            "HC20",
            severity_of(level if late else "warning"),
            _table(row),
            value,
            limit=limit,
            database=database,
            impact={"bytes": int(waste)},
            action=(f"VACUUM (ANALYZE, VERBOSE) {quoted(row)}",),
        )


def vacuum_threshold(facts: Facts, row: Row) -> float:
    """From how many dead rows on autovacuum takes the table (manual, "The Autovacuum Daemon")."""
    options = dict(part.split("=", 1) for part in (row["options"] or "").split(",") if "=" in part)

    def given(name: str) -> float:
        text = options.get(name) or facts.setting(name) or "0"
        return float(text)

    rows = max(0.0, float(row["tuples"]))
    due = given("autovacuum_vacuum_threshold") + given("autovacuum_vacuum_scale_factor") * rows
    most = given("autovacuum_vacuum_max_threshold")
    return min(due, most) if most > 0 else due


def bloat(facts: Facts) -> Iterator[Finding]:
    """HC21: tables far larger than their rows need: measured by pgstattuple, or estimated by the widths of columns."""
    limit = facts.limits["bloat_share"]
    for one in facts.databases:
        widths = {(row["schema"], row["name"]): row for row in one["widths"] or []}
        for row in one["tables"] or []:
            size = float(row["pages"]) * facts.block_bytes
            exact = one["exact"].get(str(row["oid"]))
            if exact:
                size = float(exact["bytes"])
                waste = float(exact["free_bytes"]) + float(exact["dead_bytes"])
            else:
                known = widths.get((row["schema"], row["name"]))
                if known is None or row["tuples"] < 0:
                    continue
                waste = size - needed_bytes(facts, row, known)
            share = waste / size if size else 0.0
            level = limit.level(share)
            if not level or facts.limits["bloat_bytes"].level(waste) is None:
                continue
            yield tell(
                facts,
                "HC21",
                severity_of("warning" if not exact else level),
                _table(row),
                {"size_bytes": int(size), "waste_bytes": int(waste), "waste_share": share},
                limit=limit,
                database=str(one["name"]),
                key="HC21_exact" if exact else "HC21_estimate",
                grade=MEASURED if exact else HEURISTIC,
                impact={"bytes": int(waste)},
            )


def needed_bytes(facts: Facts, row: Row, known: Row) -> float:
    """What a table's rows need, with its fill factor, by the statistics of its columns."""
    options = dict(part.split("=", 1) for part in (row["options"] or "").split(",") if "=" in part)
    fill = float(options.get("fillfactor", 100)) / 100
    head = _TUPLE_HEAD + (-(-int(known["columns"]) // 8) if known["columns"] > 8 else 0)
    tuple_bytes = -(-(head + float(known["width"] or 0)) // _ALIGN) * _ALIGN + _LINE_POINTER
    each_page = max(1.0, (facts.block_bytes - _PAGE_HEAD) * fill // tuple_bytes)
    return -(-float(row["tuples"]) // each_page) * facts.block_bytes


def sequences(facts: Facts) -> Iterator[Finding]:
    """HC22: sequences near the end of what they, or the column that takes their values, can hold."""
    limit = facts.limits["sequence_share"]
    for one in facts.databases:
        for row in one["sequences"] or []:
            if row["last"] is None or row["cycles"]:
                continue
            end, share = sequence_use(row)
            level = limit.level(share)
            if level:
                thing = {"kind": "sequence", "schema": row["schema"], "name": row["name"]}
                column = (
                    f"{row['table_schema']}.{row['table_name']}.{row['column_name']}"
                    if row["table_name"]
                    else "-"
                )
                value = {
                    "last": int(row["last"]),
                    "end": int(end),
                    "used_share": share,
                    "left": int(abs(end - row["last"]) // max(1, abs(row["step"]))),
                }
                yield tell(
                    facts,
                    "HC22",
                    severity_of(level, urgent=share >= 0.99),
                    thing,
                    value,
                    limit=limit,
                    database=str(one["name"]),
                    says={"column": column},
                )


def sequence_use(row: Row) -> tuple[float, float]:
    """Where it ends, and the share that is used, whichever way it counts."""
    if row["step"] > 0:
        end = float(min(row["most"], row["column_most"] or row["most"]))
        begin = max(0.0, float(row["least"]) - 1)
    else:
        floor = -float(row["column_most"]) - 1 if row["column_most"] else float(row["least"])
        end = max(float(row["least"]), floor)
        begin = min(0.0, float(row["most"]) + 1)
    span = end - begin
    return end, (float(row["last"]) - begin) / span if span else 1.0


def disks(facts: Facts) -> Iterator[Finding]:
    """HC29: file systems that are full, or will be soon."""
    for disk in facts.disks:
        share, days = facts.limits["disk_share"], facts.limits["disk_days"]
        level, soon = share.level(disk["used_share"]), days.below(disk.get("days"))
        if not level and not soon:
            continue
        worst = "critical" if "critical" in (level, soon) else "warning"
        value = {
            "used_share": disk["used_share"],
            "free_bytes": disk["free_bytes"],
            "total_bytes": disk["total_bytes"],
            "full_in_seconds": disk["days"] * 86400 if disk.get("days") is not None else None,
        }
        yield tell(
            facts,
            "HC29",
            severity_of(worst, urgent=True),
            {"kind": "disk", "name": disk["path"]},
            value,
            limit=share if level else days,
            says={"holds": disk["holds"]},
            key="HC29" if disk.get("days") is None else "HC29_soon",
        )


def _tables(facts: Facts) -> Iterator[tuple[str, Row]]:
    for one in facts.databases:
        for row in one["tables"] or []:
            yield str(one["name"]), row


def _table(row: Row) -> dict[str, str]:
    return {"kind": "table", "schema": str(row["schema"]), "name": str(row["name"])}


def quoted(row: Row) -> str:
    """A relation's name as it is written in SQL, always quoted."""
    return ".".join('"' + str(row[part]).replace('"', '""') + '"' for part in ("schema", "name"))


CHECKS = (wraparound, horizon, dead_rows, bloat, sequences, disks)
