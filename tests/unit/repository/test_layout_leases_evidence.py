# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The marker, leases and evidence: small files that decide much."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.locks import owner_record
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.evidence import (
    list_evidence,
    write_evidence,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leases import (
    list_leases,
    release_lease,
    take_lease,
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(str(tmp_path), "main")
    assert made.create() is True
    return made


def test_paths() -> None:
    repository = Repository("/repo/", "main")
    assert repository.marker == "/repo/main/repository.json"
    assert repository.backup("L") == "/repo/main/base/L"
    assert repository.timeline(7, 26) == "/repo/main/wal/7/0000001A"
    assert repository.history(7, 26) == "/repo/main/wal/7/0000001A.history"
    assert repository.index(7) == "/repo/main/index/7"


def test_making_it_again_changes_nothing(repository: Repository) -> None:
    before = os.stat(repository.marker)
    assert repository.create() is False
    assert os.stat(repository.marker) == before
    repository.require("test")
    assert json.loads(Path(repository.marker).read_text()) == {"format": 1, "cluster": "main"}


def test_an_empty_mount_point_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        Repository(str(tmp_path), "main").require("archive a segment")
    assert caught.value.code == "repository-missing"
    assert "not mounted" in caught.value.happened
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ['{"format":2}', '{"format": "1"}', "", "nonsense", "[1]", "{}"])
def test_a_marker_of_another_format_is_refused(repository: Repository, text: str) -> None:
    Path(repository.marker).write_text(text)
    with pytest.raises(Refused) as caught:
        repository.require("test")
    assert caught.value.code == "repository-format"


def test_a_marker_that_was_reformatted_by_hand_is_still_one(repository: Repository) -> None:
    Path(repository.marker).write_text('{\n  "cluster": "main",\n  "format": 1\n}\n')
    repository.require("test")


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    repository = Repository(str(tmp_path / "root"), "main")
    with pytest.raises(Failed) as caught:
        repository.create()
    assert caught.value.code == "repository-not-writable"
    with pytest.raises(Failed) as caught:
        repository.require("test")
    assert caught.value.code == "repository-unreadable"


def test_system_ids(repository: Repository) -> None:
    assert repository.system_ids() == []
    for name in ("90", "700", "lost+found"):
        os.mkdir(f"{repository.path}/wal/{name}")
    assert repository.system_ids() == [90, 700]


def test_a_lease_is_there_until_it_is_released(repository: Repository) -> None:
    take_lease(repository, "plan1", purpose="restore", label="L", system_id=7, first_segment="0" * 24)
    (lease,) = list_leases(repository)
    assert (lease.id, lease.label, lease.system_id, lease.active) == ("plan1", "L", 7, True)
    release_lease(repository, "plan1")
    release_lease(repository, "plan1")
    assert list_leases(repository) == []


def test_the_lease_of_a_dead_owner_holds_only_when_it_was_to_be_kept(repository: Repository) -> None:
    code = (
        "import json, sys\n"
        "from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository\n"
        "from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.leases import take_lease\n"
        "take_lease(Repository(sys.argv[1], 'main'), 'gone', purpose='drill')\n"
        "take_lease(Repository(sys.argv[1], 'main'), 'kept', purpose='restore', keep=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, repository.root], check=True, env=environment)
    assert {lease.id: lease.active for lease in list_leases(repository)} == {"gone": False, "kept": True}


def test_a_lease_that_cannot_be_read_holds(repository: Repository) -> None:
    Path(f"{repository.leases}/broken.json").write_text("{")
    Path(f"{repository.leases}/odd.json").write_text(json.dumps({"id": "odd"}))
    leases = list_leases(repository)
    assert [(lease.id, lease.active, bool(lease.damaged)) for lease in leases] == [
        ("broken", True, True),
        ("odd", True, True),
    ]


def test_a_lease_of_another_host_is_believed(repository: Repository) -> None:
    lease = take_lease(repository, "far", purpose="restore")
    value = {**lease.to_dict(), "owner": owner_record("restore") | {"host": "elsewhere.example", "pid": 1}}
    del value["active"], value["damaged"]
    Path(f"{repository.leases}/far.json").write_text(json.dumps(value))
    assert list_leases(repository)[0].active


@pytest.mark.parametrize("identity", ["", "../x", "a/b", ".hidden"])
def test_ids_that_are_no_file_names(repository: Repository, identity: str) -> None:
    with pytest.raises(ValueError):
        take_lease(repository, identity, purpose="x")
    with pytest.raises(ValueError):
        write_evidence(repository, identity, {})


def test_evidence_is_listed_even_when_one_is_damaged(repository: Repository) -> None:
    path = write_evidence(repository, "one", {"reached": "0/1"})
    write_evidence(repository, "two", {"reached": "0/2"})
    assert json.loads(Path(path).read_text())["id"] == "one"
    Path(f"{repository.evidence}/one.json").write_text("{")
    first, second = list_evidence(repository)
    assert first["id"] == "one" and first["error"]["code"] == "file-damaged"
    assert second == {"format": 1, "id": "two", "reached": "0/2"}
