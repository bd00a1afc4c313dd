# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Findings about statements (QY01 to QY16) from what was summed up. Pure: nothing here asks a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..finding import HEURISTIC, HIGH, INFO, LOW, MEASURED, MEDIUM, Finding, Says, Window
from . import delta
from .regress import CONTENTION, GROWTH, PLAN, VOLUME, Gate, Regression
from .request import Limits
from .summary import Statement

OURS = "dbkeeper.ops"
_HOUR = 3600.0
_SLOWER = {PLAN: "QY02_plan", GROWTH: "QY02_growth", CONTENTION: "QY02_contention"}
_UPGRADE_IN = "ALTER EXTENSION pg_stat_statements UPDATE"


@dataclass(frozen=True)
class Seen:
    """All that the rules look at. ``seconds`` is the window's length, None where it is not known."""

    system_id: str
    node: str
    window: Window | None
    seconds: float | None
    statements: list[Statement]
    total_ms: float
    block_bytes: int
    regressions: list[tuple[Statement, Regression]] = field(default_factory=list)
    #: Whether there was a reading before, so that "new" means new.
    compared: bool = False
    coverage: float | None = None
    evictions: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    entries: int = 0
    without_text: int = 0
    extension: str = ""
    default_version: str | None = None
    place: str = ""
    #: Statement, shape of its plan before, shape now.
    replanned: list[tuple[Statement, str, str]] = field(default_factory=list)


def findings(seen: Seen, limits: Limits, gate: Gate) -> list[Finding]:
    """All of them."""
    made = [_regression(seen, *one, gate) for one in seen.regressions]
    for statement in seen.statements:
        if statement.toplevel and not statement.ours and statement.change.total_ms >= limits.least_ms:
            made += _of_statement(seen, statement, limits)
    made += [
        _on(seen, "QY15", statement, MEDIUM, {"before": before, "now": now})
        for statement, before, now in seen.replanned
    ]
    return [*made, *_of_extension(seen, limits)]


def _regression(seen: Seen, statement: Statement, found: Regression, gate: Gate) -> Finding:
    much = found.share >= 0.1
    value = {
        "factor": round(found.factor, 2) if found.factor != float("inf") else None,
        "before_ms": found.before["mean_ms"],
        "now_ms": found.now["mean_ms"],
        "before_calls_per_second": found.before["calls_per_second"],
        "now_calls_per_second": found.now["calls_per_second"],
        "before_rows_per_call": found.before["rows"],
        "now_rows_per_call": found.now["rows"],
        "before_blocks_per_call": found.before["blocks"],
        "now_blocks_per_call": found.now["blocks"],
        "before_io_ms": found.before["io_ms"],
        "now_io_ms": found.now["io_ms"],
        "load_share": found.share,
    }
    threshold = {"factor": gate.factor, "share": gate.share, "calls": gate.calls, "source": OURS}
    if found.kind == VOLUME:
        severity = MEDIUM if much else LOW
        return _on(seen, "QY03", statement, severity, value, threshold)
    severity = HIGH if much or found.factor >= 5 else MEDIUM
    key = _SLOWER[found.kind]
    return _on(seen, "QY02", statement, severity, {**value, "kind": found.kind}, threshold, key=key)


def _of_statement(seen: Seen, statement: Statement, limits: Limits) -> Iterator[Finding]:
    one = statement.figures
    whole = statement.change.total_ms
    share = whole / seen.total_ms
    hours = seen.seconds / _HOUR if seen.seconds else None
    if share >= limits.dominant_share:
        yield _on(seen, "QY01", statement, INFO, {"load_share": share}, _limit(share=limits.dominant_share))
    if seen.compared and statement.change.how == "new" and share >= limits.new_share:
        yield _on(seen, "QY16", statement, LOW, {"load_share": share}, _limit(share=limits.new_share))
    spilled = one.get("temp_written", 0.0) * seen.block_bytes
    if hours and spilled / max(hours, 1.0) >= limits.temp_bytes_per_hour:
        severity = MEDIUM if spilled / max(hours, 1.0) >= 10 * limits.temp_bytes_per_hour else LOW
        each = spilled / max(one.get("calls", 0.0), 1.0)
        value = {"temp_bytes": int(spilled), "each_bytes": int(each), "over_seconds": seen.seconds}
        yield _on(seen, "QY04", statement, severity, value, _limit(bytes_per_hour=limits.temp_bytes_per_hour))
    if share < limits.relevant_share:
        return
    variation = delta.variation(one)
    if variation is not None and one.get("calls", 0) >= 30 and variation > limits.variation:
        value = {"variation": round(variation, 2), "mean_ms": delta.mean_ms(one)}
        yield _on(seen, "QY05", statement, LOW, value, _limit(variation=limits.variation))
    for name, part, most in (
        ("QY06", one.get("plan_ms", 0.0), limits.planning_share),
        ("QY07", one.get("jit_ms", 0.0), limits.jit_share),
        ("QY09", delta.io_ms(one), limits.io_share),
    ):
        if whole > 0 and part / whole > most and (name != "QY09" or share >= limits.new_share):
            value = {"part_share": part / whole, "load_share": share}
            yield _on(seen, name, statement, LOW, value, _limit(share=most))
    wanted, got = one.get("workers_wanted", 0.0), one.get("workers_got", 0.0)
    if wanted > 0 and got / wanted < limits.workers_share:
        value = {"wanted": int(wanted), "got": int(got), "got_share": got / wanted}
        yield _on(seen, "QY08", statement, LOW, value, _limit(share=limits.workers_share))


def _of_extension(seen: Seen, limits: Limits) -> Iterator[Finding]:
    most = seen.settings.get("pg_stat_statements.max")
    if seen.evictions:
        hours = (seen.seconds or 0.0) / _HOUR
        severity = MEDIUM if hours and seen.evictions / hours >= 1 else LOW
        value = {"evictions": seen.evictions, "over_seconds": seen.seconds, "entries_max": int(most or 0)}
        larger = 2 * int(most or 5000)
        yield _about(
            seen,
            "QY10",
            severity,
            value,
            action=(f"ALTER SYSTEM SET pg_stat_statements.max = {larger}",),
            undo=(f"ALTER SYSTEM SET pg_stat_statements.max = {most}",) if most else (),
        )
    covered = seen.coverage
    if (
        covered is not None
        and covered < limits.coverage_share
        and (seen.seconds or 0) >= limits.coverage_seconds
    ):
        yield _about(seen, "QY11", LOW, {"covered_share": covered}, _limit(share=limits.coverage_share))
    if seen.settings.get("pg_stat_statements.track") == "none":
        yield _about(
            seen,
            "QY12",
            HIGH,
            {"setting": "pg_stat_statements.track", "is": "none", "better": "top"},
            thing={"setting": "pg_stat_statements.track"},
            action=("ALTER SYSTEM SET pg_stat_statements.track = 'top'", "SELECT pg_reload_conf()"),
            undo=("ALTER SYSTEM RESET pg_stat_statements.track", "SELECT pg_reload_conf()"),
        )
    if seen.settings.get("track_io_timing") == "off":
        yield _about(
            seen,
            "QY12",
            INFO,
            {"setting": "track_io_timing", "is": "off", "better": "on"},
            thing={"setting": "track_io_timing"},
            action=("ALTER SYSTEM SET track_io_timing = 'on'", "SELECT pg_reload_conf()"),
            undo=("ALTER SYSTEM RESET track_io_timing", "SELECT pg_reload_conf()"),
        )
    if seen.without_text:
        yield _about(seen, "QY13", LOW, {"count": seen.without_text, "entries": seen.entries})
    if seen.default_version and seen.default_version != seen.extension:
        yield _about(
            seen,
            "QY14",
            LOW,
            {"version": seen.extension, "available": seen.default_version, "database_name": seen.place},
            database=seen.place,
            action=(_UPGRADE_IN,),
        )


def _limit(**figures: float) -> dict[str, Any]:
    return {**figures, "source": OURS}


def _on(
    seen: Seen,
    name: str,
    statement: Statement,
    severity: str,
    value: Mapping[str, Any],
    threshold: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
) -> Finding:
    thing = {
        "kind": "statement",
        "name": statement.fingerprint or f"#{statement.queryids[0]}",
        "user": statement.user,
        "toplevel": statement.toplevel,
    }
    share = statement.change.total_ms / seen.total_ms if seen.total_ms > 0 else None
    grade = MEASURED if statement.change.certainty == delta.EXACT else HEURISTIC
    said = {"statement": thing["name"], "user": statement.user, "database": statement.database}
    return Finding(
        name,
        seen.system_id,
        severity,
        grade,
        statement.database,
        thing,
        Says(key or name, {**said, "load_share": share, **value}),
        nodes=(seen.node,),
        window=seen.window,
        value=value,
        threshold=threshold or {},
        impact={"load_share": share},
    )


def _about(
    seen: Seen,
    name: str,
    severity: str,
    value: Mapping[str, Any],
    threshold: Mapping[str, Any] | None = None,
    *,
    thing: Mapping[str, Any] | None = None,
    database: str = "",
    action: tuple[str, ...] = (),
    undo: tuple[str, ...] = (),
) -> Finding:
    return Finding(
        name,
        seen.system_id,
        severity,
        MEASURED,
        database,
        {"kind": "extension", "name": "pg_stat_statements", **(thing or {})},
        Says(name, value),
        nodes=(seen.node,),
        window=seen.window,
        value=value,
        threshold=threshold or {},
        action=action,
        undo=undo,
    )
