# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Columns by the extension's version, held against the lists of the manual's appendix F of each major."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.columns import (
    expressions,
    statement,
    version,
)

WORDS = """
userid dbid queryid query plans total_plan_time min_plan_time max_plan_time mean_plan_time
stddev_plan_time calls total_exec_time min_exec_time max_exec_time mean_exec_time stddev_exec_time rows
shared_blks_hit shared_blks_read shared_blks_dirtied shared_blks_written local_blks_hit local_blks_read
local_blks_dirtied local_blks_written temp_blks_read temp_blks_written blk_read_time blk_write_time
wal_records wal_fpi wal_bytes
"""
V8 = set(WORDS.split())
V9 = V8 | {"toplevel"}
V10 = (
    V9
    | {"temp_blk_read_time", "temp_blk_write_time", "jit_functions"}
    | {
        f"jit_{part}_{what}"
        for part in ("inlining", "optimization", "emission", "generation")
        for what in ("time", "count")
    }
)
V11 = (
    V10 - {"blk_read_time", "blk_write_time"}
    | {f"{kind}_blk_{way}_time" for kind in ("shared", "local", "temp") for way in ("read", "write")}
    | {"jit_deform_time", "jit_deform_count", "stats_since", "minmax_stats_since"}
)
V12 = V11 | {"wal_buffers_full", "parallel_workers_to_launch", "parallel_workers_launched"}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.8", (1, 8)), ("1.10", (1, 10)), ("1.12", (1, 12)), ("2", (2, 0)), ("1.10dev", (1, 10))],
)
def test_versions_are_numbers(text: str, numbers: tuple[int, int]) -> None:
    assert version(text) == numbers


@pytest.mark.parametrize(
    ("extension", "there", "without"),
    [
        ((1, 8), V8, {"jit_ms", "wal_full", "workers_wanted", "workers_got"}),
        ((1, 9), V9, {"jit_ms", "wal_full", "workers_wanted", "workers_got"}),
        ((1, 10), V10, {"wal_full", "workers_wanted", "workers_got"}),
        ((1, 11), V11, {"wal_full", "workers_wanted", "workers_got"}),
        ((1, 12), V12, set()),
        ((1, 13), V12 | {"generic_plan_calls"}, set()),
    ],
)
def test_a_version_is_asked_for_what_it_has(
    extension: tuple[int, int], there: set[str], without: set[str]
) -> None:
    everything = set(expressions((1, 12), V12))
    assert everything - set(expressions(extension, there)) == without
    _names, text = statement(extension, there, "public.pg_stat_statements")
    assert text.endswith("FROM public.pg_stat_statements(false)")
    assert ("NULL::boolean" in text) == (extension < (1, 9))
    assert ("stats_since" in text) == (extension >= (1, 11))


def test_a_column_that_a_later_version_lost_is_not_asked_for() -> None:
    there = V12 - {"wal_fpi"}
    assert "wal_fpi" not in expressions((1, 13), there)
