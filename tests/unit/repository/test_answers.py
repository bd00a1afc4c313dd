# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What archive-get says about files that the plan does not have, and the text of restore_command."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.get import (
    _proven_absent,
    restore_command,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.spool import GetPlan, load_plan

MB = 1 << 20


def plan(*names: str, size: int = MB, **changes: Any) -> GetPlan:
    value = {
        "format": 1,
        "plan_id": "p",
        "repository": "/r",
        "cluster": "main",
        "system_id": "7",
        "timeline": 2,
        "wal_segment_size": size,
        "segments": [[name, "00"] for name in names],
        "histories": ["00000002.history"],
        "spool": "/s",
        "prefetch": 4,
    }
    return GetPlan("/plan.json", value | changes)


# Timeline 2 left 1 in segment 6; the proof found 6 only under the parent's name.
FORKED = (
    "000000010000000000000005",
    "000000010000000000000006",
    "000000020000000000000007",
    "000000020000000000000008",
)


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("000000020000000000000009", True),  # past the end
        ("000000010000000000000009", True),  # past the end, of the parent, asked next
        ("000000020000000100000000", True),
        ("000000020000000000000006", True),  # the fork's segment under the child's name
        ("000000010000000000000007", False),  # the parent's branch after the fork: the planned one was bad
        ("000000010000000000000004", False),  # before the plan begins
        ("000000020000000000000004", False),
        ("000000030000000000000009", False),  # a timeline that the plan knows nothing of
    ],
)
def test_what_the_plan_proves_absent(name: str, absent: bool) -> None:
    assert _proven_absent(plan(*FORKED), name) is absent


def test_numbers_and_not_names_are_compared() -> None:
    # At 16 MB the last segment of a log is FF, and the next name is smaller in its last digits.
    one = plan("0000000100000000000000FE", "0000000100000000000000FF", size=16 * MB)
    assert _proven_absent(one, "000000010000000100000000")
    assert not _proven_absent(one, "0000000100000000000000FD")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": 2}'],
)
def test_a_plan_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(Failed) as caught:
        load_plan(str(tmp_path / "plan.json"))
    assert caught.value.code == "plan-unreadable"


@pytest.mark.parametrize(
    "changes", [{"format": 3}, {"segments": []}, {"segments": [["a", "0"], ["a", "0"]]}, {"system_id": "x"}]
)
def test_a_plan_that_makes_no_sense(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        plan(*FORKED, **changes)


def test_restore_command_survives_odd_paths(tmp_path: Path) -> None:
    """PostgreSQL replaces %f, %p and %%, and gives the rest to sh: done here by hand with real files."""
    place = tmp_path / "it's 100% odd"
    (place / "ready").mkdir(parents=True)
    (place / "ready" / "0001").write_text("content")
    text = restore_command(["/bin/echo", "asked with"], f"{place}/plan.json", str(place))
    server = text.replace("%f", "0001").replace("%p", "target").replace("%%", "%")
    done = subprocess.run(["sh", "-c", server], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "target").read_text() == "content" and done.stdout == ""
    done = subprocess.run(["sh", "-c", server], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"asked with archive-get --plan {place}/plan.json 0001 target\n"
    failing = (
        restore_command(["sh", "-c", "exit 255"], "plan", str(place)).replace("%f", "no").replace("%p", "t")
    )
    assert subprocess.run(["sh", "-c", failing], cwd=tmp_path, check=False).returncode == 255
