# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a host has that data made on another one needs: the kind of machine, libraries, locales, collations, memory.

Nothing is changed, and no server need be there.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..core.errors import Failed
from ..core.run import run
from .config import ClusterConfig
from .host_limits import limits, meminfo

#: Numbers of the ELF header (elf(5), e_machine) of what PostgreSQL is packaged for.
_MACHINES = {3: "i386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_LC_ALL_MASK = 0x1FBF
_ICU = re.compile(r"libicui18n\.so\.(\d+) => (\S+)")
#: What the server takes memory and its libraries from.
SETTINGS = ("shared_preload_libraries", "shared_buffers", "huge_pages", "max_connections", "wal_buffers")
_SETTING_UNITS = {"shared_buffers": 8192, "wal_buffers": 8192}


@dataclass(frozen=True)
class TargetHost:
    """Facts that a backup's record is compared with; None or empty: it could not be told.

    ``settings``: those of the configuration that the host has for the server (``settings_error``: why it cannot be
    read); None where the configuration comes with the backup.
    """

    machine: str | None = None
    build: Mapping[str, str] = field(default_factory=dict)
    libc: str | None = None
    library_directory: str | None = None
    missing_libraries: frozenset[str] = frozenset()
    missing_locales: frozenset[str] = frozenset()
    icu_versions: Mapping[str, str | None] = field(default_factory=dict)
    settings: Mapping[str, str] | None = None
    settings_error: str | None = None
    memory_bytes: int = 0
    huge_page_bytes: int = 0
    huge_pages_free: int = 0


def look_at_target(
    config: ClusterConfig, libraries: Iterable[str], locales: Iterable[str], icu_locales: Iterable[str]
) -> TargetHost:
    """Ask the host for what a backup needs. Raises :class:`Failed` (``program-missing``)."""
    directory = library_directory(config)
    settings, error = host_settings(config)
    wanted = set(libraries)
    if settings:
        wanted |= set(library_list(settings["shared_preload_libraries"]))
    memory = meminfo()
    return TargetHost(
        machine=machine(config.program("postgres")),
        build=_build(config),
        libc=libc_version(),
        library_directory=directory,
        missing_libraries=frozenset(name for name in wanted if directory and not _there(name, directory)),
        missing_locales=frozenset(name for name in locales if not locale_known(name)),
        icu_versions=icu_versions(config, icu_locales),
        settings=settings,
        settings_error=error,
        memory_bytes=limits(None).memory_bytes,
        huge_page_bytes=memory.get("Hugepagesize") or 0,
        huge_pages_free=memory.get("HugePages_Free", 0),
    )


def machine(program: str) -> str | None:
    """``x86_64 64 bit little-endian``, from a program's own head; the kernel's word where it is no ELF file."""
    try:
        with open(program, "rb") as handle:
            head = handle.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return os.uname().machine
    little = head[5] == 1
    number = struct.unpack("<H" if little else ">H", head[18:20])[0]
    name = _MACHINES.get(number, f"machine {number}")
    return f"{name} {32 * head[4]} bit {'little' if little else 'big'}-endian"


def libc_version() -> str | None:
    """The version that PostgreSQL records for collations of libc: 2.36. None where it is not the GNU one."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return None
    return text.split()[-1] if text.startswith("glibc ") else None


def locale_known(name: str) -> bool:
    """Whether the C library has that locale (a server of a database in another one lets nobody in)."""
    library = ctypes.CDLL(None)
    library.newlocale.restype = ctypes.c_void_p
    library.freelocale.argtypes = [ctypes.c_void_p]
    found = library.newlocale(_LC_ALL_MASK, name.encode(), None)
    if not found:
        return False
    library.freelocale(found)
    return True


def icu_versions(config: ClusterConfig, locales: Iterable[str]) -> dict[str, str | None]:
    """The version of each collator in the ICU that this very server is linked with, as the server would say it."""
    wanted = sorted(set(locales))
    if not wanted:
        return {}
    done = run(["ldd", config.program("postgres")], attempted="find the server's ICU", accept=range(256))
    match = _ICU.search(done.out)
    if match is None:
        return dict.fromkeys(wanted)
    library = ctypes.CDLL(match[2])
    return {name: _collator_version(library, match[1], name) for name in wanted}


def _collator_version(library: ctypes.CDLL, suffix: str, name: str) -> str | None:
    try:
        opened, version, close = (
            getattr(library, f"{function}_{suffix}")
            for function in ("ucol_open", "ucol_getVersion", "ucol_close")
        )
    except AttributeError:
        return None
    opened.restype = ctypes.c_void_p
    version.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    close.argtypes = [ctypes.c_void_p]
    status = ctypes.c_int(0)
    collator = opened(name.encode(), ctypes.byref(status))
    if status.value > 0 or not collator:
        return None
    numbers = ctypes.create_string_buffer(4)
    version(collator, numbers)
    close(collator)
    parts = list(numbers.raw)
    # As u_versionToString does: zeros at the end are left out, two numbers stay.
    while len(parts) > 2 and parts[-1] == 0:
        parts.pop()
    return ".".join(map(str, parts))


def library_directory(config: ClusterConfig) -> str | None:
    """What ``$libdir`` stands for."""
    program = config.program("pg_config")
    if os.access(program, os.X_OK):
        done = run([program, "--pkglibdir"], attempted="find the server's libraries", accept=range(256))
        if done.status == 0 and os.path.isdir(done.out.strip()):
            return done.out.strip()
    above = os.path.dirname(config.bin_directory)
    places = [f"{above}/{name}" for name in ("lib", "lib/postgresql", "lib64/postgresql", "lib64/pgsql")]
    return next((place for place in places if os.path.exists(f"{place}/plpgsql.so")), None)


def library_list(text: str) -> list[str]:
    """``shared_preload_libraries`` as names."""
    return [word for word in (part.strip().strip('"') for part in text.split(",")) if word]


def _there(name: str, directory: str) -> bool:
    path = name.replace("$libdir", directory)
    if "/" not in path:
        path = f"{directory}/{path}"
    return os.path.exists(path) or os.path.exists(f"{path}.so")


def host_settings(
    config: ClusterConfig, names: Iterable[str] = SETTINGS
) -> tuple[dict[str, str] | None, str | None]:
    """The settings of the server's own configuration on this host, by its own program; second, why not."""
    inside = f"{config.data_directory}/postgresql.conf"
    path = config.config_file or (inside if os.path.isfile(inside) else None)
    if path is None or os.geteuid() == 0:
        return None, None
    try:
        return {name: setting(config, path, name) for name in names}, None
    except Failed as error:
        return None, error.happened


def setting(config: ClusterConfig, path: str, name: str, *options: str) -> str:
    """One setting as the server would have it. Raises :class:`Failed` ``program-failed`` with its words."""
    # Where the file names no data directory, one must be given; nothing is done in it.
    directory = config.data_directory if os.path.isdir(config.data_directory) else "/"
    argv = [config.program("postgres"), "-C", name, "-D", directory, "-c", f"config_file={path}", *options]
    done = run(argv, attempted="read the configuration of the server", timeout=60)
    return done.out.strip()


def size_setting(settings: Mapping[str, str], name: str) -> int:
    """A setting of memory in bytes; what ``postgres -C`` prints is in its own unit."""
    try:
        return int(settings[name]) * _SETTING_UNITS[name]
    except (KeyError, ValueError):
        return 0


def _build(config: ClusterConfig) -> dict[str, str]:
    """Constants of the build, said by itself; empty where it cannot be asked (root may not run it)."""
    if os.geteuid() == 0:
        return {}
    argv = [config.program("postgres"), "-C"]
    found = {}
    for name in ("block_size", "wal_block_size"):
        done = run(
            [*argv, name, "-c", "config_file=/dev/null", "-D", "/"],
            attempted="ask the build",
            accept=range(256),
        )
        if done.status == 0:
            found[name] = done.out.strip()
    return found
