# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is on a host, and files that are kept as they are wanted."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.presence import keep_files, missing


def test_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    there: list[dict[str, Any]] = [
        {"name": "directory", "path": str(tmp_path)},
        {"name": "shell", "program": "sh"},
        {"name": "json", "library": "json"},
        {"name": "me", "user": getpass.getuser()},
    ]
    absent: list[dict[str, Any]] = [
        {"name": "no file", "path": str(tmp_path / "none")},
        {"name": "no program", "program": "there-is-no-such-program"},
        {"name": "no library", "library": "there_is_no_such_library"},
        {"name": "no user", "user": "there-is-no-such-user"},
    ]
    assert missing(there) == []
    assert missing([absent[0], *there, *absent[1:]]) == ["no file", "no program", "no library", "no user"]


@pytest.mark.parametrize(
    "item",
    [{}, {"path": "/", "program": "sh"}, {"program": "sh", "content": "x"}],
    ids=["none", "two", "content"],
)
def test_what_cannot_be_meant_is_refused(item: dict[str, Any]) -> None:
    with pytest.raises(Refused) as error:
        missing([{"name": "it", **item}])
    assert error.value.code == "presence-ambiguous"


def test_a_file_is_kept_with_its_text_and_rights(tmp_path: Path) -> None:
    path = tmp_path / "cron.d" / "dbkeeper"
    wanted = [{"path": str(path), "content": "each hour\n", "mode": "0644"}]
    plan, diff = keep_files(wanted, check=True)
    assert plan == [f"write {path}"] and not path.exists()
    assert (diff[0]["before"], diff[0]["after"]) == ("", "each hour\n")
    assert keep_files(wanted, check=False)[0] == [f"write {path}"]
    assert path.read_text() == "each hour\n" and path.stat().st_mode & 0o777 == 0o644
    assert keep_files(wanted, check=False) == ([], [])
    path.chmod(0o666)
    assert keep_files(wanted, check=False)[0] == [f"write {path}"]
    path.write_text("each day\n")
    plan, diff = keep_files(wanted, check=False)
    assert diff[0]["before"] == "each day\n" and path.read_text() == "each hour\n"
