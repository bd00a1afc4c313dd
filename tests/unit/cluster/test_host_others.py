# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a cluster is promised by its settings."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.host_others import promised
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.request import Request
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.tune import tune
from tests.unit.tuning.cases import GB, MB, host

#: PostgreSQL's defaults, in the units of pg_settings.
DEFAULTS = {
    "shared_buffers": 16384,
    "max_connections": 100,
    "work_mem": 4096,
    "autovacuum_max_workers": 3,
    "autovacuum_work_mem": -1,
    "maintenance_work_mem": 65536,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 128 * MB + 25 * 4 * MB + 3 * 64 * MB),
        ({"autovacuum_work_mem": 1024}, 128 * MB + 25 * 4 * MB + 3 * MB),
        ({"max_connections": 40}, 128 * MB + 20 * 4 * MB + 3 * 64 * MB),
        ({"max_connections": 5}, 128 * MB + 5 * 4 * MB + 3 * 64 * MB),
        ({"shared_buffers": 1 << 20}, 8 * GB + 25 * 4 * MB + 3 * 64 * MB),
    ],
)
def test_promises(changes: dict[str, int], expected: int) -> None:
    assert promised({**DEFAULTS, **changes}) == expected


def test_tuning_reckons_as_others_see_it() -> None:
    """A cluster of ours beside one of ours: the largest that still fits keeps the first as it is."""
    first = tune(Request.build("oltp"), host())
    ours = promised(
        {
            "shared_buffers": 8 * GB // 8192,
            "max_connections": 300,
            "work_mem": 48 * 1024,
            "autovacuum_max_workers": 3,
            "autovacuum_work_mem": 1280 * 1024,
            "maintenance_work_mem": 0,
        }
    )
    fits, too_much = 32 * GB - ours, 32 * GB - ours + 1
    previous = first["inputs"]
    assert tune(Request.build("oltp"), host(other_clusters_memory_bytes=fits), previous) == first
    assert tune(Request.build("oltp"), host(other_clusters_memory_bytes=too_much), previous) != first
