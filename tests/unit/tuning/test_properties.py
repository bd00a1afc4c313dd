# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What holds on every host from 512 MB to 2 TB and from 1 to 256 CPUs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import DISKS, HostFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.request import (
    FLEET_SETTINGS,
    INTENTS,
    Request,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.tune import tune
from tests.unit.tuning.cases import GB, KB, LEAST, MB, TB

_FACTORS = {"kB": KB, "MB": MB, "GB": GB, "TB": TB}
GROWING = (
    "max_connections",
    "shared_buffers",
    "effective_cache_size",
    "work_mem",
    "maintenance_work_mem",
    "autovacuum_work_mem",
)

memories = st.one_of(st.integers(512 * MB, 2 * TB), st.integers(512, 4096).map(lambda count: count * MB))


@st.composite
def hosts(draw: st.DrawFn) -> HostFacts:
    memory = draw(memories)
    segment = draw(st.sampled_from([1, 4, 16, 64, 256, 1024])) * MB
    return HostFacts(
        memory_bytes=memory,
        cpus=draw(st.integers(1, 256)),
        version=draw(st.integers(14, 18)),
        disk=draw(st.sampled_from(DISKS)),
        data_filesystem_bytes=draw(st.none() | st.integers(100 * MB, 500 * TB)),
        wal_filesystem_bytes=draw(st.none() | st.integers(100 * MB, 50 * TB)),
        wal_separate=draw(st.booleans()),
        wal_segment_bytes=segment,
        wal_compression_methods=draw(st.sampled_from([(), ("lz4",), ("lz4", "zstd")])),
        other_clusters_memory_bytes=draw(st.just(0) | st.integers(0, memory)),
        huge_page_bytes=draw(st.sampled_from([None, 2 * MB, GB])),
    )


@st.composite
def requests(draw: st.DrawFn) -> Request:
    return Request.build(
        draw(st.sampled_from(INTENTS)),
        connections=draw(st.just(0) | st.integers(1, 20000)),
        data_size=draw(st.just("") | st.integers(MB, 100 * TB)),
        active_connections=draw(st.just(0) | st.integers(1, 2000)),
    )


def sizes(result: dict[str, Any]) -> dict[str, float]:
    """Settings with a number, in bytes where it is a size, by arithmetic of our own."""
    found = {}
    for item in result["settings"]:
        text = item["value"]
        unit = next((unit for unit in _FACTORS if text.endswith(unit)), None)
        if unit:
            found[item["name"]] = int(text[: -len(unit)]) * _FACTORS[unit]
        elif text.replace(".", "").isdigit():
            found[item["name"]] = float(text)
    return found


def chosen(request: Request, facts: HostFacts, previous: dict[str, Any] | None = None) -> dict[str, Any]:
    """The result; hosts that are too small for the connections asked for are no examples."""
    try:
        return tune(request, facts, previous)
    except Refused as error:
        assert error.code == "connections-exceed-memory"
        assume(False)
        raise


@settings(deadline=None)
@given(request=requests(), facts=hosts())
def test_promises_never_exceed_memory_by_more_than_a_fifth(request: Request, facts: HostFacts) -> None:
    result = chosen(request, facts)
    values = sizes(result)
    total = (
        values["shared_buffers"]
        + values["max_connections"] * values["work_mem"]
        + values["autovacuum_max_workers"] * values["autovacuum_work_mem"]
    )
    ours = max(facts.memory_bytes - facts.other_clusters_memory_bytes, facts.memory_bytes // 4)
    assert total <= 1.2 * ours <= 1.2 * facts.memory_bytes
    assert total == result["budget"]["total_bytes"]


@settings(deadline=None)
@given(request=requests(), facts=hosts())
def test_nothing_is_below_postgresqls_least(request: Request, facts: HostFacts) -> None:
    values = sizes(chosen(request, facts))
    for name, least in LEAST.items():
        assert values.get(name, least) >= least, name
    segment = facts.wal_segment_bytes
    assert values["min_wal_size"] >= 2 * segment
    assert values["max_wal_size"] >= 2 * segment
    assert values["min_wal_size"] <= values["max_wal_size"]
    assert values["shared_buffers"] <= values["effective_cache_size"]
    assert values["max_parallel_workers_per_gather"] <= values["max_parallel_workers"]
    assert values["max_parallel_workers"] <= values["max_worker_processes"]


@settings(deadline=None)
@given(request=requests(), facts=hosts(), more=st.integers(0, 2 * TB))
def test_more_memory_never_gives_less(request: Request, facts: HostFacts, more: int) -> None:
    larger = replace(facts, memory_bytes=min(2 * TB, facts.memory_bytes + more))
    before, after = sizes(chosen(request, facts)), sizes(chosen(request, larger))
    for name in GROWING:
        assert after[name] >= before[name], name


@settings(deadline=None)
@given(request=requests(), facts=hosts(), noise=st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=5))
def test_a_tenth_of_noise_changes_nothing(request: Request, facts: HostFacts, noise: list[float]) -> None:
    first = chosen(request, facts)
    inputs = json.loads(json.dumps(first["inputs"]))

    def near(count: int | None, share: float) -> Any:
        return None if count is None else round(count * (1 + share))

    # What is left for us beside other clusters varies by a tenth, too; not more, when they take nearly all.
    others = near(facts.other_clusters_memory_bytes, noise[4])
    noisy = replace(
        facts,
        memory_bytes=near(facts.memory_bytes, noise[0]),
        cpus=max(1, near(facts.cpus, noise[1])),
        data_filesystem_bytes=near(facts.data_filesystem_bytes, noise[2]),
        wal_filesystem_bytes=near(facts.wal_filesystem_bytes, noise[3]),
        other_clusters_memory_bytes=others,
    )
    assume(abs(noisy.available_bytes - facts.available_bytes) <= 0.2 * facts.available_bytes)
    second = tune(request, noisy, inputs)
    assert second == first
    assert tune(request, facts, json.loads(json.dumps(second["inputs"]))) == first


@settings(deadline=None)
@given(request=requests(), facts=hosts())
def test_equal_inputs_give_equal_results(request: Request, facts: HostFacts) -> None:
    first = chosen(request, facts)
    assert chosen(request, facts) == first
    assert chosen(request, facts, json.loads(json.dumps(first["inputs"]))) == first


@settings(deadline=None)
@given(
    request=requests(),
    facts=hosts(),
    minima=st.dictionaries(st.sampled_from(FLEET_SETTINGS), st.integers(1, 2000)),
)
def test_a_standby_never_has_less_than_its_primary(
    request: Request, facts: HostFacts, minima: dict[str, int]
) -> None:
    defaults = {"max_wal_senders": 10, "max_prepared_transactions": 0, "max_locks_per_transaction": 64}
    values = sizes(chosen(replace(request, minima=minima), facts))
    for name, least in minima.items():
        assert values.get(name, defaults.get(name)) >= least


@settings(deadline=None)
@given(
    request=requests(),
    facts=hosts(),
    pinned=st.fixed_dictionaries(
        {},
        optional={
            "shared_buffers": st.integers(16, 10**9),
            "work_mem": st.integers(64, 10**9),
            "max_connections": st.integers(1, 262143),
            "autovacuum_work_mem": st.integers(-1, 10**9),
            "autovacuum_max_workers": st.integers(1, 200),
            "max_worker_processes": st.integers(0, 300),
            "max_parallel_workers": st.integers(0, 1024),
            "maintenance_work_mem": st.integers(1024, 10**9),
        },
    ),
)
def test_given_values_always_win(request: Request, facts: HostFacts, pinned: dict[str, int]) -> None:
    result = chosen(replace(request, pinned={name: str(value) for name, value in pinned.items()}), facts)
    found = {item["name"]: item for item in result["settings"]}
    for name, value in pinned.items():
        assert (found[name]["value"], found[name]["pinned"]) == (str(value), True)
    over = result["budget"]["total_bytes"] > result["budget"]["limit_bytes"]
    assert over == any("120 %" in text for text in result["warnings"])
