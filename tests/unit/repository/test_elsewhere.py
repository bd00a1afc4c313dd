# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The place of a repository on another host is no path here, whatever lies below the current directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leftovers import leftovers
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.opening import open_repository

PLACE = "ssh://keeper@vault.example.com/srv/dbkeeper"


def test_leftovers_there_are_not_looked_for_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / PLACE.replace("//", "/", 1) / "main/base"
    (base / ".tmp-20261121T031500Z-full").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    ssh = {"identity_file": "/nonexistent/key", "known_hosts_file": "/nonexistent/hosts"}
    repository = open_repository(PLACE, "main", ssh, str(tmp_path / "state"))
    assert leftovers(repository, None, 0.0) == []
