# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The index file: nothing that happens to it may turn into a wrong answer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.entry import Entry, Mark
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.identity import ArchiveFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.store import Store

FACTS = ArchiveFacts(7_000_000_000_000_000_123, 1 << 20, 15)


def entry(number: int, *, signature: str = "s") -> Entry:
    return Entry(
        f"{1:08X}{0:08X}{number:08X}",
        signature,
        1000 + number,
        "ab" * 32,
        None,
        "cd" * 32,
        number,
        number + 1,
        number + 2,
        True,
        3,
        1,
        Mark(number, "2026-11-21 03:04:05.000006", 77),
        Mark(number + 9, "2026-11-21 03:04:06.000006", 79),
        "2026-11-21 03:04:05.000006",
        "2026-11-21 03:04:06.000006",
        77,
        79,
        (("a name, with 'quotes' and ü", number, number + 40),),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index" / "index.jsonl"


@contextmanager
def fresh() -> Iterator[Path]:
    """A place for one example of a property."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "index.jsonl"


def named(*entries: Entry) -> dict[str, Entry]:
    return {one.name: one for one in entries}


def test_what_is_written_is_read(path: Path) -> None:
    fault = Entry("00000001000000000000000F", "x", 5, fault=("segment-corrupt", "why"))
    Store(str(path), FACTS).append([entry(1), entry(2), fault])
    assert Store(str(path), FACTS).load() == named(entry(1), entry(2), fault)


def test_the_last_word_counts(path: Path) -> None:
    store = Store(str(path), FACTS)
    store.append([entry(1), entry(2), entry(3)])
    store.append([entry(1, signature="new")], [entry(2).name])
    assert store.load() == named(entry(1, signature="new"), entry(3))
    assert store.find(entry(1).name) == entry(1, signature="new")
    assert store.find(entry(2).name) is None and store.find(entry(9).name) is None


def test_none_at_all(path: Path) -> None:
    store = Store(str(path), FACTS)
    assert store.load() == {} and store.find("x") is None and store.is_ours()
    assert Store.facts_in(str(path)) is None
    store.settle({})
    assert not path.exists()


@given(st.data())
def test_a_line_torn_anywhere_costs_only_itself(data: st.DataObject) -> None:
    with fresh() as path:
        tear(path, data)


def tear(path: Path, data: st.DataObject) -> None:
    store = Store(str(path), FACTS)
    store.append([entry(1), entry(2)])
    whole = path.read_bytes()
    begin = whole.rstrip(b"\n").rindex(b"\n") + 1
    cut = data.draw(st.integers(begin, len(whole)))
    path.write_bytes(whole[:cut])
    # Who comes next appends, and loses nothing of its own.
    Store(str(path), FACTS).append([entry(3)])
    found = Store(str(path), FACTS).load()
    expected = named(entry(1), entry(3))
    assert found in (expected, {**expected, **named(entry(2))})


@given(st.binary(max_size=200), st.integers(0, 3))
def test_garbage_between_lines_is_passed_over(garbage: bytes, place: int) -> None:
    with fresh() as path:
        Store(str(path), FACTS).append([entry(1), entry(2)])
        lines = path.read_bytes().splitlines()
        lines.insert(1 + place % 3, garbage.replace(b"\n", b"").replace(b"\r", b""))
        path.write_bytes(b"\n".join(lines) + b"\n")
        assert Store(str(path), FACTS).load() == named(entry(1), entry(2))


@pytest.mark.parametrize(
    "line", ['{"name": "x"}', '{"name": "x", "signature": "y", "color": 1}', "[]", "7", '"x"', "null"]
)
def test_json_that_is_no_entry_is_passed_over(path: Path, line: str) -> None:
    Store(str(path), FACTS).append([entry(1)])
    with open(path, "a") as handle:
        handle.write(line + "\n")
    Store(str(path), FACTS).append([entry(2)])
    assert Store(str(path), FACTS).load() == named(entry(1), entry(2))


@pytest.mark.parametrize(
    "other",
    [
        ArchiveFacts(8, 1 << 20, 15),
        ArchiveFacts(FACTS.system_id, 1 << 24, 15),
        ArchiveFacts(FACTS.system_id, 1 << 20, 16),
    ],
)
def test_the_index_of_another_archive_is_not_believed(path: Path, other: ArchiveFacts) -> None:
    Store(str(path), other).append([entry(1)])
    store = Store(str(path), FACTS)
    assert store.load() == {} and not store.is_ours()
    assert Store.facts_in(str(path)) == other


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"garbage\n", b"[1]\n", b'{"format": 99}\n', b'{"format": 2}\n']
)
def test_a_damaged_head_is_an_empty_index(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    store = Store(str(path), FACTS)
    assert store.load() == {} and Store.facts_in(str(path)) is None
    store.replace(named(entry(4)))
    assert Store(str(path), FACTS).load() == named(entry(4))
    assert Store.facts_in(str(path)) == FACTS


def test_out_of_date_lines_go_when_they_are_most(path: Path) -> None:
    store = Store(str(path), FACTS)
    for turn in range(700):
        store.append([entry(1, signature=str(turn)), entry(2, signature=str(turn))])
    entries = store.load()
    assert len(path.read_bytes().splitlines()) == 1401
    store.settle(entries)
    assert len(path.read_bytes().splitlines()) == 3
    assert Store(str(path), FACTS).load() == named(entry(1, signature="699"), entry(2, signature="699"))


def test_what_another_process_adds_is_seen(path: Path) -> None:
    one, other = Store(str(path), FACTS), Store(str(path), FACTS)
    one.append([entry(1)])
    assert one.load() == named(entry(1))
    other.append([entry(2)])
    assert one.load() == named(entry(1), entry(2))
    other.replace(named(entry(3)))
    assert one.load() == named(entry(3))


def test_the_file_says_what_it_is_in_plain_json(path: Path) -> None:
    Store(str(path), FACTS).append([entry(1)])
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "format": 3,
        "system_id": "7000000000000000123",
        "wal_segment_size": 1 << 20,
        "major": 15,
    }
    assert second["name"] == entry(1).name and second["last_commit"][2] == 79
