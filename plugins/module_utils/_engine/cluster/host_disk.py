# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What kind of disk is below a file system, as far as the kernel says it.

Of several disks (LVM, RAID, encryption) the slowest counts. ``root`` is where /proc and /sys are.
"""

from __future__ import annotations

import os
import stat

#: The slowest first.
_ORDER = ("hdd", "unknown", "san", "ssd", "nvme")


def disk_kind(device: int, *, root: str = "") -> str:
    """``hdd``, ``ssd``, ``nvme``, ``san`` or ``unknown`` for a file system's device number (``st_dev``)."""
    if os.major(device) == 0:
        # btrfs, ZFS, overlays and network file systems have numbers of their own.
        below = _mounted_device(device, root)
        if below is None:
            return "unknown"
        device = below
    directory = os.path.realpath(f"{root}/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    return _kind(directory) if os.path.isdir(directory) else "unknown"


def _kind(directory: str) -> str:
    try:
        slaves = sorted(os.listdir(f"{directory}/slaves"))
    except OSError:
        slaves = []
    if slaves:
        kinds = [_kind(os.path.realpath(f"{directory}/slaves/{name}")) for name in slaves]
        return min(kinds, key=_ORDER.index)
    # A partition's directory lies in its disk's.
    disk = directory if os.path.isdir(f"{directory}/queue") else os.path.dirname(directory)
    return _whole_disk(disk)


def _whole_disk(directory: str) -> str:
    name = os.path.basename(directory)
    where = os.path.realpath(f"{directory}/device")
    if name.startswith("nvme"):
        return "nvme"
    # iSCSI has a session, Fibre Channel a remote port above the disk.
    if any(part.startswith(("session", "rport-")) for part in where.split("/")):
        return "san"
    rotational = _read(f"{directory}/queue/rotational")
    if rotational == "0":
        return "ssd"
    # A virtual disk says that it rotates unless somebody told it otherwise.
    if rotational != "1" or name.startswith(("vd", "xvd", "loop", "zram", "ram", "nbd", "rbd")):
        return "unknown"
    return "unknown" if _is_virtual(directory) else "hdd"


def _is_virtual(directory: str) -> bool:
    words = f"{_read(f'{directory}/device/vendor')} {_read(f'{directory}/device/model')}".lower()
    return any(mark in words for mark in ("qemu", "vmware", "virtual", "vbox", "msft", "google", "amazon"))


def _mounted_device(device: int, root: str) -> int | None:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in (_read(f"{root}/proc/self/mountinfo") or "").splitlines():
        front, _dummy, back = line.partition(" - ")
        fields, behind = front.split(), back.split()
        if len(fields) > 2 and fields[2] == wanted and len(behind) > 1 and behind[1].startswith("/dev/"):
            try:
                found = os.stat(f"{root}{behind[1]}")
            except OSError:
                return None
            return found.st_rdev if stat.S_ISBLK(found.st_mode) else None
    return None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().strip()
    except OSError:
        return None
