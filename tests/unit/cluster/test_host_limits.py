# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Memory and CPUs as control groups of version 1 and 2 leave them, on files as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.host_limits import (
    Level,
    Limits,
    available_memory,
    limits,
    meminfo,
    memory_group,
)

GB = 1 << 30
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 31 0:37 {top} /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)
#: What this process may run on: no file changes it.
HERE = len(os.sched_getaffinity(0))
UNIT = "/system.slice/system-postgresql.slice/postgresql@17-main.service"


class Host:
    """A /proc and a /sys below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.write(
            "/proc/meminfo", "MemTotal:       16777216 kB\nHugePages_Total:       5\nHugepagesize: 2048 kB\n"
        )

    def write(self, path: str, text: str) -> Host:
        target = Path(self.root + path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return self

    def v2(self, group: str, pid: str = "self") -> Host:
        self.write("/proc/self/mountinfo", V2)
        return self.write(f"/proc/{pid}/cgroup", f"0::{group}\n")

    def v1(self, group: str, top: str = "/") -> Host:
        self.write("/proc/self/mountinfo", V1.format(top=top))
        text = f"4:memory:{group}\n2:cpu,cpuacct:{group}\n1:name=systemd:{group}\n0::/\n"
        return self.write("/proc/self/cgroup", text)

    def seen(self, pid: int | None = None, place: str | None = None) -> tuple[int, int]:
        found = limits(pid, place=place, root=self.root)
        return found.memory_bytes, found.cpus


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_machine_without_limits(host: Host) -> None:
    assert host.v2("/user.slice").seen() == (16 * GB, HERE)


def test_a_machine_without_control_groups(host: Host) -> None:
    assert host.seen() == (16 * GB, HERE)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("memory.max", "max\n", 16 * GB),
        ("memory.max", f"{4 * GB}\n", 4 * GB),
        ("memory.high", f"{3 * GB}\n", 3 * GB),
        ("memory.max", f"{64 * GB}\n", 16 * GB),
        ("memory.max", "nonsense\n", 16 * GB),
    ],
)
def test_memory_of_version_2(host: Host, file: str, text: str, expected: int) -> None:
    host.v2(UNIT).write(f"/sys/fs/cgroup{UNIT}/{file}", text)
    assert host.seen()[0] == expected


def test_the_limit_of_a_group_above_counts(host: Host) -> None:
    host.v2(UNIT).write(f"/sys/fs/cgroup{UNIT}/memory.max", "max\n")
    host.write("/sys/fs/cgroup/system.slice/memory.max", f"{2 * GB}\n")
    assert host.seen()[0] == 2 * GB


def test_a_container_sees_its_own_group_as_the_top(host: Host) -> None:
    host.v2("/").write("/sys/fs/cgroup/memory.max", f"{GB}\n")
    assert host.seen()[0] == GB


def test_a_group_outside_of_what_is_mounted_is_the_top(host: Host) -> None:
    host.v2("/../../elsewhere").write("/sys/fs/cgroup/memory.max", f"{GB}\n")
    assert host.seen()[0] == GB


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("100000 100000", 1), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", HERE)],
)
def test_cpus_of_version_2(host: Host, quota: str, expected: int) -> None:
    host.v2(UNIT).write(f"/sys/fs/cgroup{UNIT}/cpu.max", f"{quota}\n")
    assert host.seen()[1] == min(expected, HERE)


def test_version_1(host: Host) -> None:
    host.v1("/box")
    host.write("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", f"{5 * GB}\n")
    host.write("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "100000\n")
    host.write("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n")
    assert host.seen() == (5 * GB, 1)


def test_version_1_without_limits(host: Host) -> None:
    host.v1("/box")
    host.write("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n")
    host.write("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n")
    host.write("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n")
    assert host.seen() == (16 * GB, HERE)


def test_version_1_in_a_container_whose_group_was_mounted(host: Host) -> None:
    """Docker mounts the container's group; /proc names it by the host's path."""
    host.v1("/docker/0123/inner", top="/docker/0123")
    host.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", f"{6 * GB}\n")
    host.write("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", f"{7 * GB}\n")
    assert host.seen()[0] == 6 * GB


def test_a_server_that_runs_is_looked_at_itself(host: Host) -> None:
    host.v2("/user.slice").write("/sys/fs/cgroup/user.slice/memory.max", f"{GB}\n")
    pid = os.getpid()
    host.v2(UNIT, str(pid)).write(f"/sys/fs/cgroup{UNIT}/memory.max", f"{9 * GB}\n")
    assert host.seen(pid)[0] == 9 * GB


def test_a_server_that_systemd_will_start_is_looked_for_among_services(host: Host) -> None:
    host.v2("/user.slice").write("/sys/fs/cgroup/user.slice/memory.max", f"{GB}\n")
    host.write("/sys/fs/cgroup/system.slice/memory.max", f"{12 * GB}\n")
    assert host.seen(place="/system.slice")[0] == 12 * GB


SLICE = "system.slice/a.slice"


@pytest.mark.parametrize(
    ("promises", "expected"),
    [
        ([], 0),
        # Beside the limited group: 6 of 16 GB are free, 4 are ours.
        ([("system.slice/b", 10 * GB)], 0),
        # 3 of 16 GB are free: one less than ours.
        ([("system.slice/b", 13 * GB)], GB),
        ([(None, 13 * GB)], GB),
        # In the same limited group.
        ([(SLICE, GB)], GB),
        ([(f"{SLICE}/x", GB), (f"{SLICE}x", 2 * GB)], GB),
        ([(f"{SLICE}/x", GB), ("user.slice", 14 * GB)], 3 * GB),
        ([(f"{SLICE}/x", 20 * GB)], 20 * GB),
    ],
)
def test_others_count_against_the_limits_that_they_share(
    promises: list[tuple[str | None, int]], expected: int
) -> None:
    found = Limits((Level(16 * GB, ""), Level(4 * GB, SLICE)), cpus=1)
    assert found.memory_bytes == 4 * GB
    assert found.taken_bytes(promises) == expected


def test_limits_name_their_groups(host: Host) -> None:
    host.v2(UNIT).write(f"/sys/fs/cgroup{UNIT}/memory.max", f"{3 * GB}\n")
    host.write("/sys/fs/cgroup/system.slice/memory.max", f"{5 * GB}\n")
    found = limits(root=host.root)
    assert found.memory == (Level(16 * GB, ""), Level(3 * GB, UNIT[1:]), Level(5 * GB, "system.slice"))


def test_groups_of_processes(host: Host) -> None:
    pid = os.getpid()
    assert host.v2(UNIT).v2("/user.slice/x", str(pid)) and memory_group(pid, root=host.root) == "user.slice/x"
    host.v1("/box").write(f"/proc/{pid}/cgroup", "4:memory:/box/a\n2:cpu,cpuacct:/box\n0::/other\n")
    assert memory_group(pid, root=host.root) == "box/a"


def test_a_process_without_groups(host: Host) -> None:
    assert memory_group(os.getpid(), root=host.root) is None


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", 6 * GB), (str(32 * GB), 6 * GB), (str(4 * GB), 2 * GB)]
)
def test_what_a_container_could_not_take_is_not_available(host: Host, limit: str, expected: int) -> None:
    assert available_memory(root=host.root) == 256 << 20
    host.write("/proc/meminfo", "MemTotal:       16777216 kB\nMemAvailable:    6291456 kB\n")
    host.v2(UNIT).write(f"/sys/fs/cgroup{UNIT}/memory.max", f"{limit}\n")
    assert available_memory(root=host.root) == expected


def test_meminfo(host: Host) -> None:
    found = meminfo(host.root)
    assert (found["HugePages_Total"], found["Hugepagesize"]) == (5, 2 << 20)


def test_the_real_machine_answers() -> None:
    found = limits()
    assert 1 <= found.cpus <= HERE
    assert 0 < found.memory_bytes <= meminfo()["MemTotal"]
