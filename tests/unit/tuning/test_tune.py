# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The result as a whole: shape, given values, the budget, warnings, refusals, and what keeps it at rest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.case import GROUPS
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import HostFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.request import INTENTS, Request
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.tune import tune
from tests.unit.tuning.cases import GB, MB, host


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in result["settings"]}


@pytest.mark.parametrize("intent", INTENTS)
def test_settings_are_grouped_and_complete(intent: str) -> None:
    settings = tune(Request.build(intent), host(version=18))["settings"]
    groups = [GROUPS.index(item["group"]) for item in settings]
    assert groups == sorted(groups)
    assert set(groups) == set(range(len(GROUPS)))
    for item in settings:
        assert set(item) == {"name", "value", "group", "reason", "source", "takes_effect", "pinned"}
        assert item["takes_effect"] in ("reload", "restart")
        assert item["reason"] and item["source"] and isinstance(item["value"], str)


def test_autovacuum_workers_need_no_restart_since_18() -> None:
    effects = [
        by_name(tune(Request.build("oltp"), host(version=version)))["autovacuum_max_workers"]["takes_effect"]
        for version in (17, 18)
    ]
    assert effects == ["restart", "reload"]


def test_given_values_win_and_are_shown_as_given() -> None:
    pinned = {"work_mem": "20MB", "jit": True, "shared_buffers": "3GB", "search_path": ["a", "b"]}
    found = by_name(tune(Request.build("oltp", pinned=pinned), host()))
    assert [
        (found[name]["value"], found[name]["pinned"]) for name in ("work_mem", "jit", "shared_buffers")
    ] == [
        ("20MB", True),
        ("on", True),
        ("3GB", True),
    ]
    assert not found["max_connections"]["pinned"]
    # What is not tuned here is shown by those who write the file.
    assert "search_path" not in found


def test_the_inputs_hold_no_given_value_that_is_not_reckoned_with() -> None:
    pinned = {"work_mem": "20MB", "primary_conninfo": "password=hidden"}
    result = tune(Request.build("oltp", pinned=pinned), host())
    assert result["inputs"]["request"]["pinned"] == {"work_mem": "20MB"}
    assert "hidden" not in json.dumps(result)


def test_the_budget_adds_up() -> None:
    budget = tune(Request.build("oltp"), host())["budget"]
    assert budget["shared_buffers_bytes"] == 8 * GB
    assert budget["connections_bytes"] == 300 * 48 * MB
    assert budget["autovacuum_bytes"] == 3 * 1280 * MB
    assert budget["total_bytes"] == 8 * GB + 300 * 48 * MB + 3 * 1280 * MB
    assert budget["limit_bytes"] == 32 * GB * 12 // 10
    assert budget["share"] == round((8 * 1024 + 300 * 48 + 3 * 1280) / (32 * 1024), 3)
    assert budget["active_connections"] == 75


@pytest.mark.parametrize("off", ["off", False])
def test_off_leaves_everything_alone(off: Any) -> None:
    result = tune(Request.build(off, pinned={"work_mem": "1GB"}), host())
    assert (result["settings"], result["budget"], result["warnings"]) == ([], {}, [])
    assert result["inputs"]["request"]["intent"] == "off"


def test_a_standby_follows_its_primary_even_when_tuning_is_off() -> None:
    minima = {"max_connections": 300, "max_worker_processes": 8, "max_wal_senders": 12}
    result = tune(Request.build("off", minima=minima, pinned={"max_wal_senders": 20}), host())
    assert [(item["name"], item["value"]) for item in result["settings"]] == [("max_connections", "300")]


@pytest.mark.parametrize(
    ("request_of", "facts", "words"),
    [
        ({"pinned": {"work_mem": "1GB"}, "connections": 300}, {}, "adds up to 311.8 GB of memory"),
        ({"pinned": {"max_connections": 50}, "minima": {"max_connections": 80}}, {}, "is given as 50"),
        ({"connections": 2000}, {"memory_bytes": 4 * GB}, "PgBouncer"),
        (
            {},
            {"other_clusters_memory_bytes": 25 * GB},
            "other clusters of this host have been promised 25.0 GB",
        ),
        ({"pinned": {"io_method": "io_uring"}}, {"version": 18, "io_uring_obstacle": "seccomp"}, "seccomp"),
        ({"data_size": "10GB"}, {"data_bytes": 13 * GB}, "13.0 GB, more than the 10.0 GB"),
    ],
)
def test_what_does_not_go_together_is_said(
    request_of: dict[str, Any], facts: dict[str, Any], words: str
) -> None:
    found = tune(Request.build("oltp", **request_of), host(**facts))["warnings"]
    assert len(found) == 1, found
    assert words in found[0]


def test_io_uring_where_it_works_is_not_warned_of() -> None:
    request = Request.build("oltp", pinned={"io_method": "io_uring"})
    assert tune(request, host(version=18, io_uring_usable=True))["warnings"] == []


@pytest.mark.parametrize("intent", INTENTS)
def test_an_ordinary_host_gives_no_warnings(intent: str) -> None:
    for memory, cpus in ((2 * GB, 2), (32 * GB, 8), (512 * GB, 64)):
        assert tune(Request.build(intent), host(memory, cpus))["warnings"] == []


def test_more_connections_than_memory_are_refused_with_what_would_do() -> None:
    with pytest.raises(Refused) as caught:
        tune(Request.build("oltp", connections=423), host(512 * MB))
    # 1.2 x 512 - 128 - 64 = 422.4 MB, 1 MB each.
    assert caught.value.code == "connections-exceed-memory"
    assert caught.value.details["most"] == 422
    assert "Ask for 422 connections" in caught.value.remedy
    result = tune(Request.build("oltp", connections=422), host(512 * MB))
    assert by_name(result)["work_mem"]["value"] == "1MB"
    assert result["budget"]["total_bytes"] <= result["budget"]["limit_bytes"]


def test_given_buffers_beyond_all_memory_are_a_warning_not_a_refusal() -> None:
    request = Request.build("oltp", connections=100, pinned={"shared_buffers": "64GB"})
    (found,) = tune(request, host())["warnings"][:1]
    assert "120 %" in found


@pytest.mark.parametrize("value", ["lots", "8 GiB", "8gb", "1e9"])
def test_a_given_size_that_is_none_is_refused_by_name(value: str) -> None:
    with pytest.raises(Refused) as caught:
        tune(Request.build("oltp", pinned={"shared_buffers": value}), host())
    assert (caught.value.code, caught.value.details) == ("setting-malformed", {"name": "shared_buffers"})


def test_a_given_count_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(Refused) as caught:
        tune(Request.build("oltp", pinned={"max_connections": "100kB"}), host())
    assert (caught.value.code, caught.value.details) == ("setting-malformed", {"name": "max_connections"})


# -- at rest -----------------------------------------------------------------------------------------------

SMALL_CHANGES = [
    {"memory_bytes": 33 * GB},
    {"memory_bytes": 26 * GB},
    {"cpus": 9},
    {"data_filesystem_bytes": 590 * GB},
    {"disk": "unknown"},
    {"wal_compression_methods": ()},
    {"data_filesystem_bytes": None},
    {"data_bytes": 100 * GB},
    # 15.3 GB are promised to this one (8 + 75 x 48 MB + 3 x 1280 MB): it still fits.
    {"other_clusters_memory_bytes": 16 * GB},
    {"container": True},
    {"io_uring_usable": True},
]
LARGE_CHANGES = [
    {"memory_bytes": 40 * GB},
    {"memory_bytes": 24 * GB},
    {"cpus": 12},
    {"disk": "hdd"},
    {"wal_separate": True},
    {"other_clusters_memory_bytes": 17 * GB},
    {"wal_compression_methods": ("zstd",)},
    {"version": 18},
]


def stored(result: dict[str, Any]) -> dict[str, Any]:
    """The inputs as they come back out of a file."""
    value: dict[str, Any] = json.loads(json.dumps(result["inputs"]))
    return value


@pytest.mark.parametrize("change", SMALL_CHANGES, ids=str)
def test_small_changes_of_a_host_change_nothing(change: dict[str, Any]) -> None:
    request = Request.build("oltp")
    first = tune(request, host())
    assert tune(request, replace(host(), **change), stored(first)) == first


@pytest.mark.parametrize("change", LARGE_CHANGES, ids=str)
def test_large_changes_of_a_host_count(change: dict[str, Any]) -> None:
    request = Request.build("oltp")
    first = tune(request, host())
    changed = replace(host(), **change)
    assert tune(request, changed, stored(first)) == tune(request, changed)
    assert tune(request, changed, stored(first)) != first


def test_small_changes_do_not_add_up_unseen() -> None:
    """Each is held against what the configuration was made from, not against the last run."""
    request, inputs = Request.build("oltp"), None
    seen = []
    for memory in (32, 36, 38, 39, 40):
        result = tune(request, host(memory * GB), inputs)
        inputs = stored(result)
        seen.append(inputs["facts"]["memory_bytes"] // GB)
    assert seen == [32, 32, 32, 39, 39]


def test_two_clusters_of_a_host_come_to_rest() -> None:
    """The first is made alone; what the second takes is no reason to make the first anew."""
    request = Request.build("oltp")
    first = tune(request, host())
    promise = 8 * GB + 75 * 48 * MB + 3 * 1280 * MB
    second = tune(request, host(other_clusters_memory_bytes=promise))
    values = by_name(second)
    # 16.6 GB are left: (0.8 - 0.25) x 16.6 - 2.1 GB for 83 x 3.
    assert (values["shared_buffers"]["value"], values["work_mem"]["value"]) == ("4GB", "28MB")
    theirs = 4 * GB + 75 * 28 * MB + 3 * 640 * MB
    assert tune(request, host(other_clusters_memory_bytes=theirs), stored(first)) == first
    assert tune(request, host(other_clusters_memory_bytes=promise), stored(second)) == second


def test_memory_that_another_cluster_leaves_is_taken() -> None:
    request = Request.build("oltp")
    second = tune(request, host(other_clusters_memory_bytes=16 * GB))
    assert tune(request, host(), stored(second)) == tune(request, host())


def test_another_request_is_answered_from_the_facts_that_were_kept() -> None:
    first = tune(Request.build("oltp"), host())
    other = tune(Request.build("web"), host(33 * GB), stored(first))
    assert other == tune(Request.build("web"), host())


@pytest.mark.parametrize(
    "previous", [{}, {"facts": None}, {"facts": {"cpus": "many"}}, {"facts": []}, {"format": 9, "facts": {}}]
)
def test_inputs_that_cannot_be_read_count_for_nothing(previous: Any) -> None:
    assert tune(Request.build("oltp"), host(), previous) == tune(Request.build("oltp"), host())


def test_facts_survive_json() -> None:
    facts = host(version=18, io_methods=("worker",), container=True, data_bytes=5)
    assert HostFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
