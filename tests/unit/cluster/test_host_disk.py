# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Kinds of disks, on a /sys as the kernel shows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.disks import (
    file_system,
    tablespaces,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.host_disk import disk_kind


class Sys:
    """Disks, partitions and what lies on them below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/dev/block").mkdir(parents=True)

    def disk(
        self, name: str, rotational: str = "0", *, bus: str = "pci0/ata1/host0", model: str = "ST4000"
    ) -> Path:
        device = self.root / f"sys/devices/{bus}/0:0:0:0"
        device.mkdir(parents=True, exist_ok=True)
        (device / "model").write_text(f"{model}\n")
        block = device / "block" / name
        (block / "queue").mkdir(parents=True)
        (block / "queue/rotational").write_text(f"{rotational}\n")
        (block / "device").symlink_to(device)
        return block

    def partition(self, disk: Path, number: int = 1) -> Path:
        path = disk / f"{disk.name}{number}"
        path.mkdir()
        return path

    def over(self, name: str, *slaves: Path) -> Path:
        """A device mapper's or RAID's device."""
        block = self.root / f"sys/devices/virtual/block/{name}"
        (block / "queue").mkdir(parents=True)
        (block / "queue/rotational").write_text("0\n")
        (block / "slaves").mkdir()
        for slave in slaves:
            (block / "slaves" / slave.name).symlink_to(slave)
        return block

    def kind(self, block: Path, major: int = 8) -> str:
        link = self.root / f"sys/dev/block/{major}:1"
        link.symlink_to(block)
        return disk_kind(os.makedev(major, 1), root=str(self.root))


@pytest.fixture
def sys_tree(tmp_path: Path) -> Sys:
    return Sys(tmp_path)


@pytest.mark.parametrize(
    ("name", "rotational", "bus", "model", "expected"),
    [
        ("sda", "1", "pci0/ata1/host0", "ST4000", "hdd"),
        ("sda", "0", "pci0/ata1/host0", "Samsung", "ssd"),
        ("nvme0n1", "0", "pci0/nvme/nvme0", "INTEL", "nvme"),
        ("sdb", "0", "platform/host3/session1/target3:0:0", "LUN", "san"),
        ("sdc", "1", "pci0/host4/rport-4:0-1/target4:0:0", "LUN", "san"),
        ("sda", "1", "pci0/virtio2/host2", "QEMU HARDDISK", "unknown"),
        ("sda", "1", "pci0/host2", "Virtual Disk", "unknown"),
        ("vda", "1", "pci0/virtio1", "", "unknown"),
        ("vda", "0", "pci0/virtio1", "", "ssd"),
        ("sda", "", "pci0/ata1/host0", "", "unknown"),
    ],
)
def test_disks(sys_tree: Sys, name: str, rotational: str, bus: str, model: str, expected: str) -> None:
    assert sys_tree.kind(sys_tree.disk(name, rotational, bus=bus, model=model)) == expected


def test_a_partition_is_its_disk(sys_tree: Sys) -> None:
    assert sys_tree.kind(sys_tree.partition(sys_tree.disk("sda", "1"))) == "hdd"


def test_the_slowest_disk_below_counts(sys_tree: Sys) -> None:
    fast = sys_tree.partition(sys_tree.disk("nvme0n1", bus="pci0/nvme/nvme0"))
    slow = sys_tree.disk("sda", "1")
    raid = sys_tree.over("md0", fast, slow)
    assert sys_tree.kind(sys_tree.over("dm-0", raid), 253) == "hdd"


def test_encryption_over_one_disk(sys_tree: Sys) -> None:
    fast = sys_tree.partition(sys_tree.disk("nvme0n1", bus="pci0/nvme/nvme0"))
    assert sys_tree.kind(sys_tree.over("dm-0", fast), 253) == "nvme"


def test_devices_that_nobody_knows(tmp_path: Path) -> None:
    assert disk_kind(os.makedev(8, 1), root=str(tmp_path)) == "unknown"


def test_file_systems_with_numbers_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    mounts = (
        "40 1 0:50 / / rw - overlay overlay rw,lowerdir=/x\n"
        "41 1 0:51 / /data rw - btrfs /dev/gone rw\n"
        "42 1 0:52 / /mail rw - nfs4 server:/mail rw\n"
    )
    (tmp_path / "proc/self/mountinfo").write_text(mounts)
    for minor in (50, 51, 52, 53):
        assert disk_kind(os.makedev(0, minor), root=str(tmp_path)) == "unknown"


def test_a_tablespace_that_is_dropped_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is nowhere; taken for one inside the data directory it would be planned for."""
    links = tmp_path / "pg_tblspc"
    (links / "16385").mkdir(parents=True)
    for oid in ("16384", "16386"):
        os.symlink(f"/srv/{oid}", links / oid)
    listed = os.listdir

    def slow_listdir(path: str) -> list[str]:
        names = listed(path)
        (links / "16384").unlink()
        return names

    monkeypatch.setattr(os, "listdir", slow_listdir)
    found = tablespaces(str(tmp_path))
    assert [(one.oid, one.path, one.in_place) for one in found] == [
        (16385, str(links / "16385"), True),
        (16386, "/srv/16386", False),
    ]


def test_a_directory_that_is_renamed_while_its_space_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "staged").mkdir()
    statvfs = os.statvfs

    def slow_statvfs(path: str) -> os.statvfs_result:
        if path.endswith("/staged") and os.path.isdir(path):
            os.rename(path, f"{path}.away")
        return statvfs(path)

    monkeypatch.setattr(os, "statvfs", slow_statvfs)
    assert file_system(f"{tmp_path}/staged/data").path == str(tmp_path)
