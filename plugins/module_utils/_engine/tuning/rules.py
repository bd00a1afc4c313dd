# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The rules: one function a setting, each pure. docs/tuning.md shows them as a table; tests hold each of them.

Where the public calculators agree, so do we; where they fail their users (worker processes below PostgreSQL's
default on small hosts, memory that nobody adds up, WAL that outgrows its disk), the rule says why it differs.
"""

from __future__ import annotations

from .case import Case, Choice, Rule
from .memory import (
    autovacuum_workers,
    decide_autovacuum_work_mem,
    decide_effective_cache_size,
    decide_huge_pages,
    decide_maintenance_work_mem,
    decide_max_connections,
    decide_shared_buffers,
    decide_work_mem,
    max_parallel_workers,
)
from .units import GB, KB, MB, step_down

_WAL_PROFILE = {"oltp": 8 * GB, "web": 4 * GB, "dw": 16 * GB, "mixed": 4 * GB, "desktop": 2 * GB}
#: PostgreSQL's own defaults of what a primary can demand to be more.
FLEET_DEFAULTS = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
_LOGICAL_WORKERS = 4
_MOST_PER_GATHER = 16
_FEWEST_SEGMENTS = 4


def _unless_the_primary_has_more(name: str) -> Rule:
    def decide(case: Case) -> Choice | None:
        least = case.request.minima.get(name, 0)
        return Choice(least, "primary") if least > FLEET_DEFAULTS[name] else None

    return Rule(name, "Connections", "manual: hot standby", decide, restart=True)


def _max_wal_size(case: Case) -> Choice:
    facts, intent = case.facts, case.request.intent
    floor = _FEWEST_SEGMENTS * facts.wal_segment_bytes
    wanted = Choice(_WAL_PROFILE[intent], "wal_profile", {"intent": intent})
    disk = facts.wal_filesystem_bytes if facts.wal_separate else facts.data_filesystem_bytes
    if disk is not None:
        divisor, reason = (2, "wal_own_disk") if facts.wal_separate else (5, "wal_shared_disk")
        if disk // divisor < int(wanted.value):
            wanted = Choice(step_down(disk // divisor, MB), reason, {"size": disk})
    return wanted if int(wanted.value) >= floor else Choice(floor, "wal_segments")


def _min_wal_size(case: Case) -> Choice:
    floor = 2 * case.facts.wal_segment_bytes
    return Choice(max(step_down(case.number("max_wal_size") // 4, MB), floor), "quarter_of_max")


def _max_slot_wal_keep_size(case: Case) -> Choice | None:
    facts = case.facts
    disk = facts.wal_filesystem_bytes if facts.wal_separate else facts.data_filesystem_bytes
    if disk is None:
        return None
    return Choice(step_down(disk * 3 // 10, MB), "slots", {"size": disk})


def _wal_compression(case: Case) -> Choice:
    if case.facts.version >= 15 and "lz4" in case.facts.wal_compression_methods:
        return Choice("lz4", "lz4")
    return Choice("on" if case.facts.version < 15 else "pglz", "pglz")


def _random_page_cost(case: Case) -> Choice:
    data = case.request.data_bytes
    if data is not None and data <= case.number("effective_cache_size"):
        return Choice("1.1", "data_in_cache", {"data": data})
    if case.facts.disk == "hdd":
        return Choice("4", "seeks")
    if case.request.intent == "dw":
        return Choice("4", "long_scans")
    if case.facts.disk == "unknown":
        return Choice("1.1", "unknown_disk")
    return Choice("1.1", "no_seeks", {"disk": case.facts.disk})


def _effective_io_concurrency(case: Case) -> Choice:
    if case.facts.version >= 18:
        return Choice(16, "io_default_18")
    known = {"hdd": 2, "ssd": 200, "nvme": 256, "san": 300}
    if case.facts.disk == "unknown":
        return Choice(known["ssd"], "unknown_disk")
    return Choice(known[case.facts.disk], "io_depth", {"disk": case.facts.disk})


def _io_method(case: Case) -> Choice | None:
    return Choice("worker", "io_worker") if case.facts.version >= 18 else None


def _io_workers(case: Case) -> Choice | None:
    choice = case.choice("io_method")
    if choice is None or choice.value != "worker":
        return None
    return Choice(min(32, max(3, case.facts.cpus // 4)), "quarter_of_cpus", {"cpus": case.facts.cpus})


def _statistics_target(case: Case) -> Choice | None:
    return Choice(500, "dw_statistics") if case.request.intent == "dw" else None


def _jit(case: Case) -> Choice | None:
    return None if case.request.intent == "dw" else Choice("off", "jit")


def _max_worker_processes(case: Case) -> Choice:
    wanted = case.number("max_parallel_workers") + _LOGICAL_WORKERS
    if wanted <= 8:
        return Choice(8, "workers_default")
    return Choice(wanted, "workers_sum", {"parallel": wanted - _LOGICAL_WORKERS})


def _per_gather(case: Case) -> Choice:
    intent, half = case.request.intent, case.facts.cpus // 2
    most = {"dw": _MOST_PER_GATHER, "mixed": 4}.get(intent, 2)
    wanted = min(most, half, case.number("max_parallel_workers"))
    if wanted == 0:
        return Choice(0, "not_parallel")
    return Choice(wanted, "per_gather", {"intent": intent, "cpus": case.facts.cpus})


def _parallel_maintenance(case: Case) -> Choice:
    wanted = min(4, case.facts.cpus // 2, case.number("max_parallel_workers"))
    return Choice(wanted, "index_builds") if wanted else Choice(0, "not_parallel")


def _cost_limit(case: Case) -> Choice | None:
    return None if case.facts.disk == "hdd" else Choice(2000, "fast_disk")


def _always(value: int | str, reason: str) -> Choice:
    return Choice(value, reason)


_MANUAL_MEMORY = "manual: resource consumption, memory"
_MANUAL_WAL = "manual: write ahead log"
_MANUAL_PARALLEL = "manual: parallel query; pgtune corrected"
_MANUAL_VACUUM = "manual: automatic vacuuming"

#: In the order of the settings file.
RULES: tuple[Rule, ...] = (
    Rule(
        "max_connections",
        "Connections",
        "pgtune, cut to memory",
        decide_max_connections,
        restart=True,
    ),
    _unless_the_primary_has_more("max_wal_senders"),
    _unless_the_primary_has_more("max_prepared_transactions"),
    _unless_the_primary_has_more("max_locks_per_transaction"),
    Rule(
        "shared_buffers",
        "Memory",
        f"{_MANUAL_MEMORY} (25 % to 40 %)",
        decide_shared_buffers,
        kind="bytes",
        unit=8 * KB,
        restart=True,
    ),
    Rule(
        "huge_pages",
        "Memory",
        "manual: managing kernel resources; pgtune (2 GB)",
        decide_huge_pages,
        kind="text",
        restart=True,
    ),
    Rule(
        "effective_cache_size",
        "Memory",
        "pgtune (75 %)",
        decide_effective_cache_size,
        kind="bytes",
        unit=8 * KB,
    ),
    Rule(
        "work_mem",
        "Memory",
        "dbkeeper: what is left, divided by who works",
        decide_work_mem,
        kind="bytes",
    ),
    Rule(
        "maintenance_work_mem",
        "Memory",
        "pgtune (1/16, dw 1/8); release notes 17",
        decide_maintenance_work_mem,
        kind="bytes",
    ),
    Rule(
        "max_wal_size", "WAL and checkpoints", "pgtune, cut to the disk", _max_wal_size, kind="bytes", unit=MB
    ),
    Rule("min_wal_size", "WAL and checkpoints", "pgtune (1/4)", _min_wal_size, kind="bytes", unit=MB),
    Rule(
        "max_slot_wal_keep_size",
        "WAL and checkpoints",
        "Pigsty (30 % of the disk)",
        _max_slot_wal_keep_size,
        kind="bytes",
        unit=MB,
    ),
    Rule(
        "checkpoint_timeout",
        "WAL and checkpoints",
        f"{_MANUAL_WAL}; Pigsty (15 min)",
        lambda case: _always("15min", "checkpoints"),
        kind="text",
    ),
    Rule("wal_compression", "WAL and checkpoints", "pgtune, build looked at", _wal_compression, kind="text"),
    Rule("random_page_cost", "Planner and disks", "pgtune", _random_page_cost, kind="text"),
    Rule(
        "effective_io_concurrency",
        "Planner and disks",
        "pgtune, timescaledb-tune; release notes 18",
        _effective_io_concurrency,
    ),
    Rule(
        "io_method",
        "Planner and disks",
        "manual: asynchronous behavior (18)",
        _io_method,
        kind="text",
        restart=True,
    ),
    Rule("io_workers", "Planner and disks", "pgtune (cpus/4, 3 to 32)", _io_workers),
    Rule("default_statistics_target", "Planner and disks", "pgtune (dw)", _statistics_target),
    Rule("jit", "Planner and disks", "pgtune, timescaledb-tune, autobase", _jit, kind="text"),
    Rule(
        "max_worker_processes",
        "Parallel work",
        _MANUAL_PARALLEL,
        _max_worker_processes,
        restart=True,
    ),
    Rule("max_parallel_workers", "Parallel work", _MANUAL_PARALLEL, max_parallel_workers),
    Rule("max_parallel_workers_per_gather", "Parallel work", _MANUAL_PARALLEL, _per_gather),
    Rule("max_parallel_maintenance_workers", "Parallel work", _MANUAL_PARALLEL, _parallel_maintenance),
    Rule(
        "autovacuum_max_workers",
        "Autovacuum",
        "pgtune (3, 4, 5)",
        autovacuum_workers,
        restart=True,
        reload_since=18,
    ),
    Rule(
        "autovacuum_work_mem",
        "Autovacuum",
        _MANUAL_VACUUM,
        decide_autovacuum_work_mem,
        kind="bytes",
    ),
    Rule(
        "autovacuum_vacuum_scale_factor",
        "Autovacuum",
        f"{_MANUAL_VACUUM}; Pigsty (0.08)",
        lambda case: _always("0.1", "vacuum_sooner"),
        kind="text",
    ),
    Rule(
        "autovacuum_analyze_scale_factor",
        "Autovacuum",
        f"{_MANUAL_VACUUM}; Pigsty (0.04)",
        lambda case: _always("0.05", "analyze_sooner"),
        kind="text",
    ),
    Rule("autovacuum_vacuum_cost_limit", "Autovacuum", f"{_MANUAL_VACUUM}", _cost_limit),
)

BY_NAME: dict[str, Rule] = {rule.name: rule for rule in RULES}
