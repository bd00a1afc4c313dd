# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Facts, requests, sizes, the comment line, and the words: what is read and what is refused."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning import units
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import HostFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.inputs import (
    inputs_line,
    inputs_of,
    read_inputs,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.request import Request
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.words import REASONS, WARNINGS
from tests.unit.tuning.cases import GB, KB, MB, TB


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, 1),
        (1, 1),
        (7, 7),
        (8, 8),
        (9, 8),
        (10, 10),
        (15, 14),
        (16, 16),
        (19, 16),
        (39, 32),
        (41, 40),
        (1023, 896),
        (1024, 1024),
    ],
)
def test_steps(count: int, expected: int) -> None:
    assert units.step_down(count * MB + 5, MB) == expected * MB


@given(count=st.integers(1, 10**9), more=st.integers(0, 10**9))
def test_steps_go_down_by_a_fifth_at_most_and_never_back(count: int, more: int) -> None:
    step = units.step_down(count, 1)
    assert count * 0.8 <= step <= count
    assert units.step_down(count + more, 1) >= step
    assert units.step_down(step, 1) == step


@pytest.mark.parametrize(
    ("count", "text"),
    [(64 * KB, "64kB"), (MB, "1MB"), (1792 * MB, "1792MB"), (2 * GB, "2GB"), (2 * TB, "2TB"), (1536, "1kB")],
)
def test_sizes_are_written_as_postgresql_writes_them(count: int, text: str) -> None:
    assert units.size_text(count) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [("8GB", 8 * GB), (" 1.5 MB ", 1536 * KB), ("100", 100 * KB), ("-1", -1), ("512B", 512), ("1TB", TB)],
)
def test_given_sizes_are_read_as_postgresql_reads_them(text: str, count: int) -> None:
    assert units.parse_size("work_mem", text, KB) == count


@pytest.mark.parametrize(
    ("text", "count"), [("200GB", 200 * GB), ("1.5 TB", 1536 * GB), ("4096", 4096), ("300 mb", 300 * MB)]
)
def test_sizes_of_data(text: str, count: int) -> None:
    assert units.parse_data_size(text) == count


@pytest.mark.parametrize("text", ["much", "-5GB", "0", "5 PB", "GB"])
def test_sizes_of_data_that_are_none(text: str) -> None:
    with pytest.raises(Refused) as caught:
        units.parse_data_size(text)
    assert caught.value.code == "size-malformed"


@pytest.mark.parametrize(
    ("intent", "given_values", "code"),
    [
        ("olap", {}, "intent-unknown"),
        (True, {}, "intent-unknown"),
        ("oltp", {"connections": -1}, "connections-malformed"),
        ("oltp", {"connections": 300000}, "connections-malformed"),
        ("oltp", {"connections": True}, "connections-malformed"),
        ("oltp", {"active_connections": "few"}, "connections-malformed"),
        ("oltp", {"data_size": "big"}, "size-malformed"),
        ("oltp", {"minima": {"work_mem": 4}}, "minimum-unknown"),
        ("oltp", {"minima": {"max_connections": "x"}}, "setting-malformed"),
    ],
)
def test_requests_that_cannot_be_meant(intent: Any, given_values: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        Request.build(intent, **given_values)
    assert caught.value.code == code


def test_requests_are_read_as_yaml_and_templates_hand_them_on() -> None:
    request = Request.build(
        "web", connections="200", data_size=GB, pinned={"A": True, "b": [1, 2], "c": 1.5, "d": None}
    )
    assert (request.connections, request.data_bytes) == (200, GB)
    assert request.pinned == {"a": "on", "b": "1, 2", "c": "1.5"}
    assert Request.build(False).intent == "off"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ([], "not a dictionary"),
        ({"memory_bytes": 1, "cpus": 1}, "missing: version"),
        ({"memory_bytes": 1, "cpus": 1, "version": 17, "ram": 5}, "unknown: ram"),
        ({"memory_bytes": "1GB", "cpus": 1, "version": 17}, "memory_bytes is '1GB'"),
        ({"memory_bytes": 1, "cpus": True, "version": 17}, "cpus is True"),
        ({"memory_bytes": 0, "cpus": 1, "version": 17}, "above zero"),
        ({"memory_bytes": 1, "cpus": 1, "version": 17, "disk": "tape"}, "disk is 'tape'"),
        ({"memory_bytes": 1, "cpus": 1, "version": 17, "io_methods": "worker"}, "io_methods is"),
        ({"memory_bytes": 1, "cpus": 1, "version": 17, "container": "yes"}, "container is 'yes'"),
    ],
)
def test_facts_that_are_none(facts: Any, words: str) -> None:
    with pytest.raises(Refused) as caught:
        HostFacts.from_dict(facts)
    assert caught.value.code == "facts-malformed"
    assert words in caught.value.happened


def test_facts_from_a_template_may_be_texts() -> None:
    facts = HostFacts.from_dict({"memory_bytes": "1024", "cpus": "2", "version": "17", "data_bytes": None})
    assert (facts.memory_bytes, facts.cpus, facts.version, facts.data_bytes) == (1024, 2, 17, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text(), VALUES))
def test_inputs_survive_in_one_comment_line(value: dict[str, Any]) -> None:
    line = inputs_line(value)
    assert len(line.splitlines()) == 1
    assert line.startswith("# ")
    assert read_inputs(f"# head\n{line}\nwork_mem = 4MB\n") == value


@pytest.mark.parametrize(
    "text", ["", "work_mem = 4MB\n", "# dbkeeper inputs: {broken\n", "# dbkeeper inputs: 5\n"]
)
def test_files_that_do_not_say(text: str, tmp_path: Path) -> None:
    assert read_inputs(text) is None
    (tmp_path / "a.conf").write_text(text)
    assert inputs_of(str(tmp_path / "a.conf")) is None


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert inputs_of(str(tmp_path / "none.conf")) is None


@pytest.mark.parametrize("key", [*REASONS, *WARNINGS])
def test_both_languages_name_the_same(key: str) -> None:
    english, japanese = {**REASONS, **WARNINGS}[key]

    def names(text: str) -> set[str]:
        return {name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name}

    assert names(english) == names(japanese)
    assert any(ord(letter) > 0x2FFF for letter in japanese)
