# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a host says of itself where there is no server to ask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster import host
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import HostFacts


def config(root: Path, version: str = "18", manager: str = "pg_ctl") -> ClusterConfig:
    description = {
        "format": 1,
        "cluster": "main",
        "version": version,
        "data_directory": f"{root}/not/yet/data",
        "bin_directory": f"{root}/bin",
        "socket_directory": f"{root}/run",
        "service": {"manager": manager, "unit": "postgresql@18-main.service"},
    }
    return ClusterConfig.from_dict(description, source="test")


@pytest.mark.parametrize("mark", ["run/systemd/container", ".dockerenv", "run/.containerenv"])
def test_containers_are_known_by_what_their_managers_leave(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert not host.container(str(tmp_path))
    (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / mark).touch()
    assert host.container(str(tmp_path))


def test_containers_of_kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert host.container(str(tmp_path))


@pytest.mark.parametrize("manager", ["pg_ctl", "systemd"])
def test_a_bare_host_has_facts(manager: str, tmp_path: Path) -> None:
    found = host.host_facts(config(tmp_path, manager=manager))
    assert HostFacts.from_dict(found).to_dict() == found
    space = os.statvfs(tmp_path)
    assert found["data_filesystem_bytes"] == space.f_blocks * space.f_frsize
    assert (found["data_bytes"], found["wal_segment_bytes"]) == (None, 16 << 20)
    assert (found["wal_compression_methods"], found["io_methods"]) == ([], [])
    assert not found["io_uring_usable"]
    assert "does not have it" in found["io_uring_obstacle"]


def test_asking_for_a_ring_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    said = [host.ring_refused() for _count in range(3)]
    assert os.listdir("/proc/self/fd") == before
    assert len(set(said)) == 1
    switch = Path("/proc/sys/kernel/io_uring_disabled")
    if switch.exists() and switch.read_text().strip() == "2":
        assert said[0] is not None
    assert said[0] is None or said[0].startswith("the kernel refuses: ")
