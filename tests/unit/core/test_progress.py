# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Progress: what another process reads, and what a person is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.progress import (
    Progress,
    describe,
    read_progress,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.sizes import (
    format_bytes,
    format_duration,
    parse_duration,
)

LINES = [
    (
        {
            "operation": "restore",
            "phase": "replay",
            "state": "running",
            "unit": "bytes",
            "done": 1 << 30,
            "total": 2 << 30,
            "rate": 64 << 20,
            "seconds_left": 16.0,
            "note": "at 0/5000000",
        },
        "restore · replay: 1.0 GB of 2.0 GB (50 %), 64.0 MB/s, 16 s left, at 0/5000000",
    ),
    (
        {
            "operation": "backup",
            "phase": "copy",
            "state": "running",
            "unit": "bytes",
            "done": 0,
            "total": None,
            "rate": None,
            "seconds_left": None,
            "note": "",
        },
        "backup · copy",
    ),
    (
        {
            "operation": "restore",
            "phase": "backup",
            "state": "failed",
            "unit": "bytes",
            "done": 0,
            "total": None,
            "rate": None,
            "seconds_left": None,
            "note": "segment-missing",
        },
        "restore · failed: segment-missing",
    ),
]


@pytest.mark.parametrize(("record", "line"), LINES)
def test_a_line_for_a_person(record: dict[str, object], line: str) -> None:
    assert describe(record) == line


def test_another_process_reads_phases_and_the_end(tmp_path: Path) -> None:
    path = str(tmp_path / "progress.json")
    progress = Progress(path, "restore", identity="abc")
    progress.phase("stage", total=100)
    progress.update(40)
    progress.phase("replay", total=10)
    record = read_progress(path)
    assert record is not None
    assert (record["phase"], record["total"], record["state"], record["identity"]) == (
        "replay",
        10,
        "running",
        "abc",
    )
    progress.finish("done")
    record = read_progress(path)
    assert record is not None
    assert [item["phase"] for item in record["phases"]] == ["stage", "replay"]
    assert record["state"] == "done"


def test_a_dead_writer_is_told(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    Progress(str(path), "backup").phase("copy")
    record = json.loads(path.read_text())
    record["owner"]["process_start"] = "1"
    path.write_text(json.dumps(record))
    found = read_progress(str(path))
    assert found is not None
    assert found["state"] == "interrupted"


def test_a_progress_file_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    progress = Progress(str(tmp_path / "nowhere" / "progress.json"), "restore")
    progress.phase("stage", total=1)
    progress.finish("done")
    assert read_progress(str(tmp_path / "nowhere" / "progress.json")) is None


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1536, "1.5 kB"), (16 << 20, "16.0 MB"), (5 << 40, "5.0 TB")]
)
def test_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.34, "0.3 s"), (95, "1 min 35 s"), (30, "30 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("36h", 129600), ("7d", 604800)]
)
def test_durations_are_read_back(text: str, seconds: int) -> None:
    assert parse_duration(text, attempted="test") == seconds
