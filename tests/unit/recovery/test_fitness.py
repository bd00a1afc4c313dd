# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Data from another host: what was recorded beside what the host has, one difference at a time."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.postmaster import InstanceStatus
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.target import (
    TargetHost,
    libc_version,
    library_list,
    locale_known,
    machine,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.fitness import fitness, needs
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.state import LiveCluster

from . import world

GERMAN = {
    "name": "german",
    "provider": "i",
    "locale": "de",
    "version": "153.120",
    "indexes": 2,
    "examples": ["public.a", "public.b"],
}
DATABASE: dict[str, Any] = {
    "name": "shop",
    "collate": "de_DE.UTF-8",
    "ctype": "de_DE.UTF-8",
    "extensions": {"plpgsql": "1.0"},
    "libraries": ["$libdir/plpgsql"],
    "provider": "c",
    "locale": "de_DE.UTF-8",
    "version": "2.36",
    "collations": [{"name": "default", "provider": "d", "indexes": 7, "examples": ["public.c"]}, GERMAN],
    "foreign_servers": [],
}
BUILD = {
    "machine": "x86_64 64 bit little-endian",
    "block_size": "8192",
    "wal_block_size": "8192",
    "libc": "2.36",
}
HOST = TargetHost(
    machine="x86_64 64 bit little-endian",
    build={"block_size": "8192", "wal_block_size": "8192"},
    libc="2.36",
    library_directory="/usr/lib/postgresql/15/lib",
    icu_versions={"de": "153.120"},
    settings={
        "shared_preload_libraries": "auto_explain",
        "shared_buffers": str((1 << 30) // 8192),
        "huge_pages": "try",
        "max_connections": "100",
        "wal_buffers": "-1",
    },
    memory_bytes=4 << 30,
    huge_page_bytes=2 << 20,
)
NOBODY = LiveCluster(False, InstanceStatus(running=False), None)


def look(
    *,
    host: TargetHost = HOST,
    database: Any = None,
    build: Any = "its own",
    live: Any = NOBODY,
    **accepted: bool,
) -> list[str]:
    """The keys of the notes."""
    settings = {**world.SETTINGS, "databases": [database or DATABASE], "subscriptions": []}
    settings |= {"build": BUILD if build == "its own" else build} if build else {}
    state = world.state(target=host, live=live)
    found = fitness(replace(world.request(), **accepted), world.backup(settings=settings), state)
    return [note["key"] for note in found]


def test_the_same_kind_of_host_has_nothing_to_say() -> None:
    assert look() == []


def settings(**changes: str) -> TargetHost:
    return replace(HOST, settings={**(HOST.settings or {}), **changes})


LIBC = replace(HOST, libc="2.31")
ICU = replace(HOST, icu_versions={"de": "153.14"})
PRELOAD = replace(HOST, missing_libraries=frozenset({"auto_explain"}))
EXTENSION = replace(HOST, missing_libraries=frozenset({"$libdir/plpgsql"}))
REFUSED = [
    ({"host": replace(HOST, machine="aarch64 64 bit little-endian")}, "architecture-mismatch", "aarch64"),
    ({"host": replace(HOST, build={"block_size": "32768"})}, "architecture-mismatch", "block_size"),
    ({"host": PRELOAD}, "library-missing", "preloaded by the configuration"),
    ({"host": PRELOAD, "accept_missing_libraries": True}, "library-missing", "auto_explain"),
    ({"host": EXTENSION}, "library-missing", "used in shop"),
    ({"host": replace(HOST, settings_error="unrecognized")}, "server-configuration-unfit", "unrecognized"),
    ({"host": replace(HOST, missing_locales=frozenset({"de_DE.UTF-8"}))}, "locale-missing", "de_DE.UTF-8"),
    ({"host": LIBC}, "collation-changed", "default (de_DE.UTF-8) was 2.36, is 2.31 here, 7 indexes"),
    ({"host": ICU}, "collation-changed", "german (de) was 153.120, is 153.14 here, 2 indexes"),
    ({"host": replace(HOST, icu_versions={"de": None})}, "collation-changed", "is unknown here"),
    ({"host": settings(shared_buffers=str((5 << 30) // 8192))}, "memory-too-small", "4.0 GB"),
    ({"host": settings(huge_pages="on")}, "huge-pages-too-few", "0 are free"),
]


@pytest.mark.parametrize(("case", "code", "words"), REFUSED)
def test_one_difference_is_one_refusal(case: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        look(**case)
    assert caught.value.code == code
    assert words in caught.value.happened and caught.value.remedy


def test_what_is_accepted_is_on_the_card() -> None:
    assert look(host=LIBC, accept_collation_change=True) == ["note_reindex"]
    assert look(host=EXTENSION, accept_missing_libraries=True) == ["note_libraries_missing"]
    assert look(host=replace(HOST, library_directory=None)) == ["note_libraries_unknown"]


def test_a_server_that_runs_with_its_configuration_proves_it() -> None:
    serving = LiveCluster(True, InstanceStatus(running=True, pid=1, ready=True), world.control())
    assert look(host=PRELOAD, live=serving) == []
    assert look(host=settings(huge_pages="on"), live=serving) == []
    # One that is of another system proves nothing: its libraries may be preloaded by nobody yet.
    with pytest.raises(Refused):
        look(host=PRELOAD, live=replace(serving, control=None, stranger="7"))


@pytest.mark.parametrize("name", ["C", "POSIX", "C.UTF-8", "c.utf8"])
def test_the_order_of_bytes_is_the_same_everywhere(name: str) -> None:
    database = {**DATABASE, "collate": name, "locale": name, "version": None, "collations": []}
    assert look(host=LIBC, database=database) == []


def test_what_an_old_backup_did_not_record_is_refused_on_a_new_host_only() -> None:
    old = {name: DATABASE[name] for name in ("name", "collate", "ctype", "extensions")}
    with pytest.raises(Refused) as caught:
        look(database=old, build=None)
    assert caught.value.code == "collation-changed" and "not recorded" in caught.value.happened
    here = LiveCluster(True, InstanceStatus(running=False), world.control())
    assert look(database=old, build=None, live=here) == ["note_not_recorded", "note_reindex"]


def test_what_to_ask_the_host_for() -> None:
    taken = world.backup(settings={"databases": [DATABASE]})
    assert needs(taken) == ({"$libdir/plpgsql"}, {"de_DE.UTF-8"}, {"de"})
    assert needs(world.backup()) == (set(), set(), set())


def test_the_host_tells_the_truth_about_itself() -> None:
    """Against what Python's own library says of it."""
    said = machine(sys.executable)
    assert said is not None and f"{platform.architecture()[0][:2]} bit {sys.byteorder}-endian" in said
    assert platform.machine() in said or "machine" in said
    assert libc_version() == (platform.libc_ver()[1] or None)
    assert locale_known("C") and not locale_known("tlh_KX.UTF-8")
    assert machine("/nonexistent") is None
    assert library_list(' a, "b" ,,c ') == ["a", "b", "c"]
