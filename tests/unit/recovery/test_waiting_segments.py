# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the live cluster has not archived: none, some, and "nobody can say" are three answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.proving import stop_and_archive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.state import (
    ready_segments,
    waiting_segments,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .world import config

NAME = "00000001000000000000000A"


def test_where_there_is_no_cluster_nothing_waits(tmp_path: Path) -> None:
    assert waiting_segments(str(tmp_path)) == ready_segments(str(tmp_path)) == ()


def test_what_is_ready_waits(tmp_path: Path) -> None:
    status = tmp_path / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    for name in (f"{NAME}.ready", "000000010000000000000009.done"):
        (status / name).touch()
    assert waiting_segments(str(tmp_path)) == ready_segments(str(tmp_path)) == (NAME,)


def test_what_cannot_be_read_is_not_nothing(tmp_path: Path) -> None:
    """A file in the directory's place cannot be listed by anybody, not even by root."""
    (tmp_path / "pg_wal").mkdir()
    (tmp_path / "pg_wal" / "archive_status").touch()
    with pytest.raises(Refused) as caught:
        waiting_segments(str(tmp_path))
    assert caught.value.code == "live-wal-not-archived"
    assert "accept_unarchived" in caught.value.remedy
    # Where the cluster is to be replaced because it is damaged, that must not stop anybody from looking at it.
    assert ready_segments(str(tmp_path)) == ()


def test_a_restore_to_the_latest_commit_asks_for_certain(tmp_path: Path) -> None:
    """The cluster is down already; nothing else of its directory is needed to ask."""
    data = tmp_path / "data"
    (data / "pg_wal").mkdir(parents=True)
    described = config(data_directory=str(data))
    repository = Repository(str(tmp_path / "repository"), described.cluster)
    stop_and_archive(described, repository, False)
    (data / "pg_wal" / "archive_status").touch()
    with pytest.raises(Refused) as caught:
        stop_and_archive(described, repository, False)
    assert caught.value.code == "live-wal-not-archived"
    stop_and_archive(described, repository, True)


def test_segments_without_a_control_file_that_can_be_read_may_hold_commits(tmp_path: Path) -> None:
    """Of a cluster that crashed the last segment is never ready, and only pg_control says whether it crashed."""
    data = tmp_path / "data"
    (data / "pg_wal" / "archive_status").mkdir(parents=True)
    (data / "pg_wal" / NAME).touch()
    described = config(data_directory=str(data))
    repository = Repository(str(tmp_path / "repository"), described.cluster)
    with pytest.raises(Refused) as caught:
        stop_and_archive(described, repository, False)
    assert caught.value.code == "live-wal-not-archived" and "cannot be read" in caught.value.happened
    stop_and_archive(described, repository, True)
