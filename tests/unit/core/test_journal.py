# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The journal: a step is done once, a begun one again, and what is on disk is what was said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.journal import Journal


def begin(path: Path) -> Journal:
    return Journal.begin(str(path), "restore", "abc", {"plan": 1})


def test_a_step_is_done_once(tmp_path: Path) -> None:
    journal = begin(tmp_path / "state" / "journal.json")
    done: list[str] = []
    for _dummy in range(2):
        journal.step("stage", lambda: done.append("stage"))
    assert done == ["stage"]
    assert journal.is_done("stage")


def test_a_step_that_failed_is_done_again_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    journal = begin(path)

    def fail() -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        journal.step("stage", fail)
    again = Journal.load(str(path), attempted="test")
    assert again is not None
    assert again.status("stage") == "begun"
    again.step("stage", lambda: None)
    assert again.is_done("stage")


def test_everything_is_on_disk_when_a_step_begins(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    journal = begin(path)
    journal.note(kept="/somewhere")
    seen: list[object] = []
    journal.step("swap", lambda: seen.append(json.loads(path.read_text())))
    (record,) = seen
    assert isinstance(record, dict)
    assert record["steps"]["swap"]["status"] == "begun"
    assert record["data"] == {"plan": 1, "kept": "/somewhere"}
    assert record["state"] == "running"


def test_reset_forgets_steps_and_finish_ends(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    journal = begin(path)
    journal.step("stage", lambda: None)
    journal.reset("stage", "never-begun")
    assert journal.status("stage") is None
    journal.finish("done")
    again = Journal.load(str(path), attempted="test")
    assert again is not None
    assert (again.state, again.identity) == ("done", "abc")
    again.remove()
    assert Journal.load(str(path), attempted="test") is None


def test_nonsense_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.write_text("{half")
    with pytest.raises(Failed) as caught:
        Journal.load(str(path), attempted="test")
    assert caught.value.code == "file-damaged"
    assert str(path) in caught.value.happened
