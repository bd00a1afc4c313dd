# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""`dbkeeper tune`: what it asks for, and its table in both languages."""

from __future__ import annotations

import argparse
import unicodedata
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli.tune import (
    add_options,
    request_from,
    table,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.case import GROUPS
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.request import Request
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.tune import tune
from tests.unit.tuning.cases import GB, host


def options(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(argv)


def result(language: str = "en", **asked: Any) -> dict[str, Any]:
    found = tune(Request.build(asked.pop("intent", "oltp"), **asked), host(version=18), language=language)
    for item in found["settings"]:
        item["now"] = "64GB" if item["name"] == "shared_buffers" else None
    return found


KEPT = {
    "request": {
        "intent": "dw",
        "connections": 60,
        "data_bytes": 5 * GB,
        "active_connections": 7,
        "pinned": {"work_mem": "9MB", "jit": "on"},
        "minima": {"max_connections": 80},
    }
}


def test_without_options_and_without_a_file() -> None:
    assert request_from(options(), None) == Request.build("mixed")


def test_what_the_file_came_from_is_kept() -> None:
    expected = Request.build(
        "dw",
        connections=60,
        data_size=5 * GB,
        active_connections=7,
        pinned={"work_mem": "9MB", "jit": "on"},
        minima={"max_connections": 80},
    )
    assert request_from(options(), KEPT) == expected


def test_options_win() -> None:
    given = ("--intent", "web", "--connections", "5", "--data-size", "1GB", "--active-connections", "2")
    found = request_from(options(*given, "--pin", "work_mem=1MB", "--pin", "x=a=b"), KEPT)
    assert (found.intent, found.connections, found.data_bytes, found.active_connections) == ("web", 5, GB, 2)
    assert found.pinned == {"work_mem": "1MB", "jit": "on", "x": "a=b"}


def test_zero_is_an_answer() -> None:
    assert request_from(options("--connections", "0"), KEPT).connections == 0


def test_off_of_the_file_stays_off() -> None:
    assert request_from(options(), {"request": {"intent": "off"}}).intent == "off"


@pytest.mark.parametrize("pins", [("work_mem",), ("a=1", "a=2")])
def test_pins_that_are_none(pins: tuple[str, ...]) -> None:
    argv = [word for pin in pins for word in ("--pin", pin)]
    with pytest.raises(Refused) as caught:
        request_from(options(*argv), None)
    assert caught.value.code == "pin-malformed"


def test_the_table_in_english() -> None:
    lines = table(result(pinned={"work_mem": "1GB"}, connections=300), "en")
    assert lines[0] == "oltp on PostgreSQL 18: 32.0 GB of memory, 8 CPUs, disk ssd"
    assert [line for line in lines if line in GROUPS] == list(GROUPS)
    (buffers,) = [line for line in lines if line.startswith("  shared_buffers ")]
    assert " ".join(buffers.split()) == "shared_buffers 64GB 8GB restart a quarter of 32.0 GB"
    assert lines[-2].endswith("(limit 120 %)")
    assert lines[-1].startswith("WARNING: what was given by hand adds up to")


def test_the_table_in_japanese() -> None:
    lines = table(result("ja"), "ja")
    assert lines[0] == "PostgreSQL 18、用途 oltp: メモリ 32.0 GB、CPU 8 個、ディスク ssd"
    assert "自動バキューム" in lines
    (buffers,) = [line for line in lines if line.startswith("  shared_buffers ")]
    assert buffers.split()[:4] == ["shared_buffers", "64GB", "8GB", "再起動"]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_columns_are_straight(language: str) -> None:
    """The reasons begin in one column of the terminal, where Japanese letters take two."""
    found = result(language)
    starts = set()
    for item, line in zip(
        found["settings"], [line for line in table(found, language) if line.startswith("  ")][1:]
    ):
        before = line[: line.index(item["reason"])]
        starts.add(sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in before))
    assert len(starts) == 1


def test_off() -> None:
    assert table(result(intent="off"), "en")[1] == "tuning is off: nothing is chosen"
