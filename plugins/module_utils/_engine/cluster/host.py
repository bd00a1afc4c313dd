# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The facts that a cluster's settings are chosen from: all that tuning asks of the world is asked here.

Nothing is changed. A host without PostgreSQL, or with a server that is not made or not started yet, gets an
answer as well: what cannot be known is not in it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import tempfile
import time
from typing import Any

from ..core.errors import Failed
from ..core.run import run
from .config import ClusterConfig
from .controldata import read_control_data
from .disks import file_system, tablespaces
from .host_disk import disk_kind
from .host_limits import SERVICES, limits, meminfo
from .host_others import promises
from .postmaster import server_status

_COMPRESSION = ("lz4", "zstd")
_IO_METHODS = ("worker", "sync", "io_uring")
_MEASURE_SECONDS = 2.0
#: System call of Linux, the same number on every architecture that PostgreSQL is packaged for.
_IO_URING_SETUP = 425
_RING_PARAMETERS_BYTES = 120
#: Before this kernel a ring counted against RLIMIT_MEMLOCK (io_uring_setup(2)).
_RINGS_LOCK_NO_MEMORY = (5, 12)
_RING_LOCKED_BYTES = 64 * 1024


def host_facts(config: ClusterConfig) -> dict[str, Any]:
    """Everything that :class:`..tuning.facts.HostFacts` holds, as JSON values.

    Run as the owner of the cluster. Raises :class:`Failed`: ``pid-file-unreadable``, ``disk-unreadable``.
    """
    status = server_status(config.data_directory)
    # A server that is to be started by systemd will not live in the session of who asks.
    services = config.service.manager == "systemd" and not container() and not status.pid
    found = limits(status.pid, place=SERVICES if services else None)
    memory = meminfo()
    data = file_system(config.data_directory)
    wal = file_system(os.path.realpath(f"{config.data_directory}/pg_wal"))
    methods = build_options(config)
    obstacle = io_uring_obstacle(methods["io_method"])
    return {
        "memory_bytes": found.memory_bytes,
        "cpus": found.cpus,
        "version": config.major,
        "disk": disk_kind(data.device),
        "data_filesystem_bytes": data.total_bytes,
        "wal_filesystem_bytes": wal.total_bytes,
        "wal_separate": wal.device != data.device,
        "wal_segment_bytes": _segment_bytes(config),
        "data_bytes": _data_bytes(config),
        "wal_compression_methods": methods["wal_compression"],
        "io_methods": methods["io_method"],
        "io_uring_usable": obstacle is None,
        "io_uring_obstacle": obstacle,
        "container": container(),
        "other_clusters_memory_bytes": found.taken_bytes(promises(config)),
        "huge_page_bytes": memory.get("Hugepagesize"),
        "huge_pages_total": memory.get("HugePages_Total", 0),
    }


def container(root: str = "") -> bool:
    """Whether this is a container, by what the usual managers leave for those inside."""
    marks = ("/run/systemd/container", "/.dockerenv", "/run/.containerenv")
    return any(os.path.exists(f"{root}{mark}") for mark in marks) or "KUBERNETES_SERVICE_HOST" in os.environ


def build_options(config: ClusterConfig) -> dict[str, list[str]]:
    """What this build of the server knows, said by the server itself; empty where it cannot be asked."""
    wanted: dict[str, tuple[str, ...]] = {
        "wal_compression": _COMPRESSION if config.major >= 15 else (),
        "io_method": _IO_METHODS if config.major >= 18 else (),
    }
    if not os.access(config.program("postgres"), os.X_OK) or os.geteuid() == 0:
        # The server's program refuses to run as root; a cluster that has an owner yet has another one.
        return {name: [] for name in wanted}
    scratch = tempfile.mkdtemp(prefix="dbkeeper-options-")
    try:
        with open(f"{scratch}/postgresql.conf", "w", encoding="utf-8"):
            pass
        return {
            name: [value for value in values if _accepts(config, scratch, name, value)]
            for name, values in wanted.items()
        }
    finally:
        shutil.rmtree(scratch)


def _accepts(config: ClusterConfig, directory: str, name: str, value: str) -> bool:
    done = run(
        [config.program("postgres"), "-D", directory, "-C", name, "-c", f"{name}={value}"],
        attempted="see what this build of the server knows",
        timeout=30,
        accept=range(256),
    )
    return done.status == 0 and done.out.strip() == value


def io_uring_obstacle(methods: list[str]) -> str | None:
    """What keeps a server from using io_uring here; None: nothing.

    The last word is the kernel's, asked for a ring as the server would ask.
    """
    if "io_uring" not in methods:
        return "this build of the server does not have it, or it is not known"
    if container():
        return "containers commonly forbid it"
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if _kernel() < _RINGS_LOCK_NO_MEMORY and locked != resource.RLIM_INFINITY and locked < _RING_LOCKED_BYTES:
        return f"RLIMIT_MEMLOCK is {locked} bytes"
    return ring_refused()


def _kernel() -> tuple[int, int]:
    major, _dummy, rest = os.uname().release.partition(".")
    minor = "".join(letter for letter in rest.partition(".")[0] if letter.isdigit())
    return int(major), int(minor or 0)


def ring_refused() -> str | None:
    """Ask the kernel for a ring, as a server would, and give it back. None: it may be had."""
    parameters = ctypes.create_string_buffer(_RING_PARAMETERS_BYTES)
    handle = ctypes.CDLL(None, use_errno=True).syscall(_IO_URING_SETUP, 8, parameters)
    if handle < 0:
        return f"the kernel refuses: {os.strerror(ctypes.get_errno())} (see kernel.io_uring_disabled)"
    os.close(handle)
    return None


def _segment_bytes(config: ClusterConfig) -> int:
    """16 MB, initdb's default, where there is no cluster yet."""
    if not os.path.exists(f"{config.data_directory}/global/pg_control"):
        return 16 * 1024 * 1024
    try:
        return read_control_data(config.bin_directory, config.data_directory).wal_segment_size
    except Failed:
        return 16 * 1024 * 1024


def _data_bytes(config: ClusterConfig) -> int | None:
    """What base and the tablespaces take; None where there is no cluster, or too many files to count in time."""
    if not os.path.isdir(f"{config.data_directory}/base"):
        return None
    deadline = time.monotonic() + _MEASURE_SECONDS
    places = [f"{config.data_directory}/base"]
    try:
        places += [location.path for location in tablespaces(config.data_directory)]
    except Failed:
        return None
    total = 0
    while places:
        if time.monotonic() > deadline:
            return None
        directory = places.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        places.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            # Dropped while we looked.
            continue
        except PermissionError:
            return None
    return total
