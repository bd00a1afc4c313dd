# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Making a cluster known to the host command, on a real file system."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.register import register
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

ME = pwd.getpwuid(os.getuid()).pw_name


def description(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "cluster": "main",
        "version": "15",
        "data_directory": f"{root}/data",
        "bin_directory": "/usr/lib/postgresql/15/bin",
        "socket_directory": "/run/postgresql",
        "service": {"manager": "pg_ctl"},
        "repository": f"{root}/repository",
        "state_directory": f"{root}/state/main",
        **changes,
    }


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_everything_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "main.json"
    wanted = description(tmp_path)
    first = register(wanted, str(path), user=ME, check=False)
    assert (first["changed"], first["executed"]) == (True, True)
    assert json.loads(path.read_text()) == wanted
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "repository" / "main" / "repository.json").is_file()
    assert (tmp_path / "state" / "main").is_dir()
    second = register(wanted, str(path), user=ME, check=False)
    assert (second["changed"], second["plan"]) == (False, [])


@pytest.mark.parametrize("required", [True, False])
def test_copies_of_a_repository_elsewhere_are_refused_and_nothing_is_written(
    tmp_path: Path, required: bool
) -> None:
    """They would get WAL and never a backup: what is described on that host gets everything."""
    ssh = {"identity_file": f"{tmp_path}/key", "known_hosts_file": f"{tmp_path}/hosts"}
    away = {"repository": "ssh://keeper@vault.example:2222/srv/backups", "ssh": ssh}
    wanted = description(tmp_path, **away, copies={"disk": {"to": "/mnt/second", "required": required}})
    for check in (True, False):
        with pytest.raises(Refused) as caught:
            register(wanted, str(tmp_path / "etc" / "main.json"), user=ME, check=check)
        assert caught.value.code == "repository-elsewhere"
        assert "vault.example, where /srv/backups is: backup_repository_copies" in caught.value.remedy
    assert tree(tmp_path) == []


def test_check_mode_foretells_and_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "main.json"
    foretold = register(description(tmp_path), str(path), user=ME, check=True)
    assert (foretold["changed"], foretold["executed"]) == (True, False)
    assert tree(tmp_path) == []
    assert foretold["plan"] == register(description(tmp_path), str(path), user=ME, check=False)["plan"]


def test_a_change_is_written_and_the_repository_kept(tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    register(description(tmp_path), str(path), user=ME, check=False)
    kept = tmp_path / "repository" / "main" / "base" / "20261121T031500Z-full"
    kept.mkdir()
    changed = register(description(tmp_path, language="ja"), str(path), user=ME, check=False)
    assert changed["plan"] == [f"write {path}"]
    assert changed["diff"]["before"] == description(tmp_path)
    assert kept.is_dir()


def test_a_wrong_mode_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    register(description(tmp_path), str(path), user=ME, check=False)
    path.chmod(0o666)
    assert register(description(tmp_path), str(path), user=ME, check=False)["changed"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_description_that_cannot_be_read_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        register(description(tmp_path, repositry="/x"), str(tmp_path / "main.json"), user=ME, check=False)
    assert caught.value.code == "config-malformed"
    assert tree(tmp_path) == []


def test_an_unknown_owner_is_refused_by_root(tmp_path: Path) -> None:
    path = str(tmp_path / "main.json")
    if os.getuid() != 0:
        assert register(description(tmp_path), path, user="nobody-of-that-name", check=False)["changed"]
        return
    with pytest.raises(Refused) as caught:
        register(description(tmp_path), path, user="nobody-of-that-name", check=False)
    assert caught.value.code == "user-unknown"
    assert tree(tmp_path) == []
