# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether data made on one host can live on another: machine, build, libraries (C11), collations (C18), memory (C19).

Pure: what was recorded with the backup, and what the host has, in; notes for the card, or a refusal, out. What an old
backup did not record cannot be compared: that is said, and refused where it matters, on a host that is a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..cluster.target import TargetHost, library_list, size_setting
from ..core.errors import Refused
from ..core.sizes import format_bytes
from ..repository.catalog import Backup
from .request import RestoreRequest
from .state import HostState

Notes = list[dict[str, Any]]
_LIBC, _ICU = "c", "i"
_DEFAULT = "d"


def needs(backup: Backup) -> tuple[set[str], set[str], set[str]]:
    """Libraries, locales of the C library, and locales of ICU that the data need, as recorded."""
    libraries: set[str] = set()
    locales: set[str] = set()
    icu: set[str] = set()
    for database in databases(backup):
        libraries |= set(database.get("libraries", ()))
        locales |= {database[name] for name in ("collate", "ctype") if database.get(name)}
        for collation in _collations(database):
            (icu if collation["provider"] == _ICU else locales).add(collation["locale"])
    return libraries, {name for name in locales if name}, icu


def databases(backup: Backup) -> list[Mapping[str, Any]]:
    """What was recorded of each database; nothing for a backup from before that."""
    return list(backup.settings.get("databases") or ())


def fitness(request: RestoreRequest, backup: Backup, state: HostState) -> Notes:
    """All of it. Raises :class:`Refused`: ``architecture-mismatch``, ``library-missing``, ``locale-missing``,
    ``collation-changed``, ``server-configuration-unfit``, ``memory-too-small``, ``huge-pages-too-few``.
    """
    host = state.target
    if host is None:
        return []
    attempted = f"plan a restore of cluster {state.config.cluster}"
    serving = state.live.status.running and not state.live.stranger
    notes = _machine(backup, host, attempted)
    notes += _libraries(request, backup, host, attempted, serving)
    notes += _collation(request, backup, state, host, attempted)
    if not serving:
        notes += _memory(state, host, attempted)
    return notes + _outside(backup)


def _note(key: str, **values: object) -> dict[str, Any]:
    return {"key": key, "values": values}


def _machine(backup: Backup, host: TargetHost, attempted: str) -> Notes:
    build = backup.settings.get("build")
    if not build:
        return [_note("note_not_recorded")]
    pairs = [("machine", build.get("machine"), host.machine)]
    pairs += [(name, build.get(name), host.build.get(name)) for name in ("block_size", "wal_block_size")]
    for name, recorded, found in pairs:
        if recorded and found and recorded != found:
            raise Refused(
                "architecture-mismatch",
                attempted=attempted,
                happened=f"{name} of the backup's host is {recorded}, here {found}: its files cannot be read here",
                remedy="Restore on a host of the same kind with the same build of PostgreSQL; across kinds only a dump "
                "(pg_dump) can be brought.",
                details={"recorded": recorded, "found": found},
            )
    return []


def _libraries(
    request: RestoreRequest, backup: Backup, host: TargetHost, attempted: str, serving: bool
) -> Notes:
    """Fault C11. A server whose preloaded libraries are missing does not start; others fail when they are called."""
    if host.settings_error and not serving:
        raise Refused(
            "server-configuration-unfit",
            attempted=attempted,
            happened=f"the server's own program does not take its configuration: {host.settings_error}",
            remedy="Mend the configuration that its words name, then plan again.",
        )
    preloaded = set(library_list((host.settings or {}).get("shared_preload_libraries", "")))
    missing = sorted(host.missing_libraries)
    if serving:
        missing = [name for name in missing if name not in preloaded]
    if not missing:
        return [] if host.library_directory else [_note("note_libraries_unknown")]
    users = {
        name: [d["name"] for d in databases(backup) if name in d.get("libraries", ())] for name in missing
    }
    told = "; ".join(
        f"{name} ({'preloaded by the configuration' if name in preloaded else 'used in ' + ', '.join(users[name])})"
        for name in missing
    )
    fatal = [name for name in missing if name in preloaded]
    if fatal or not request.accept_missing_libraries:
        raise Refused(
            "library-missing",
            attempted=attempted,
            happened=f"not in {host.library_directory}: {told}",
            remedy=(
                "Install their packages, or take them out of shared_preload_libraries: without them the server does "
                "not start."
                if fatal
                else "Install their packages; or repeat with accept_missing_libraries (--accept-missing-libraries): "
                "what calls them fails until they are installed."
            ),
            details={"missing": missing, "directory": host.library_directory},
        )
    return [_note("note_libraries_missing", libraries=", ".join(missing))]


def _collations(database: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What text is ordered by in a database: its own locale, and other collations that indexes use."""
    provider = database.get("provider", _LIBC)
    own = {
        "name": "default",
        "provider": provider,
        "locale": database.get("locale") or database.get("collate"),
        "version": database.get("version"),
        "indexes": 0,
        "examples": [],
    }
    for found in database.get("collations") or ():
        if found["provider"] == _DEFAULT:
            own |= {"indexes": found["indexes"], "examples": found["examples"]}
        elif found["provider"] in (_LIBC, _ICU):
            yield dict(found)
    if provider in (_LIBC, _ICU):
        yield own


def _fixed(collation: Mapping[str, Any]) -> bool:
    """Locales whose order is that of the bytes on every host (PostgreSQL gives them no version)."""
    name = str(collation["locale"]).upper()
    return collation["provider"] == _LIBC and (name in ("C", "POSIX") or name.startswith("C."))


def _collation(
    request: RestoreRequest, backup: Backup, state: HostState, host: TargetHost, attempted: str
) -> Notes:
    """Fault C18. An index on text in another order than the library's finds rows no longer, silently."""
    lacking = sorted(host.missing_locales)
    if lacking:
        raise Refused(
            "locale-missing",
            attempted=attempted,
            happened=f"this host does not have the locales {', '.join(lacking)}: databases in them let nobody in",
            remedy="Make them (locale-gen, localedef, or the package glibc-langpack-…), then plan again.",
            details={"missing": lacking},
        )
    build = backup.settings.get("build") or {}
    changed, unknown = [], []
    for database in databases(backup):
        for collation in _collations(database):
            if _fixed(collation):
                continue
            recorded, found = _versions(collation, build, host)
            entry = {"database": database["name"], **collation, "recorded": recorded, "found": found}
            if recorded is None:
                unknown.append(entry)
            elif recorded != found:
                changed.append(entry)
    new_host = state.live.control is None
    if (changed or (unknown and new_host)) and not request.accept_collation_change:
        raise _changed(changed or unknown, attempted)
    return [
        _note(
            "note_reindex",
            database=item["database"],
            collation=item["name"],
            locale=item["locale"],
            recorded=item["recorded"] or "?",
            found=item["found"] or "?",
            count=item["indexes"],
            examples=", ".join(item["examples"] or ()) or "-",
        )
        for item in (*changed, *unknown)
    ]


def _versions(
    collation: Mapping[str, Any], build: Mapping[str, Any], host: TargetHost
) -> tuple[str | None, str | None]:
    if collation["provider"] == _ICU:
        return collation["version"], host.icu_versions.get(str(collation["locale"]))
    return collation["version"] or build.get("libc"), host.libc


def _changed(entries: list[dict[str, Any]], attempted: str) -> Refused:
    told = "; ".join(
        f"database {item['database']}: {item['name']} ({item['locale']}) was {item['recorded'] or 'not recorded'}, "
        f"is {item['found'] or 'unknown'} here, {item['indexes']} indexes"
        for item in entries[:8]
    )
    return Refused(
        "collation-changed",
        attempted=attempted,
        happened=f"text is ordered by another version of the library on this host: {told}",
        remedy="Restore on a host with the same version of the operating system; or repeat with "
        "accept_collation_change (--accept-collation-change), and after the restore REINDEX what the card names "
        "before anybody trusts a search, a unique key or a partition (bt_index_check of amcheck shows what is wrong).",
        details={"collations": entries},
    )


def _memory(state: HostState, host: TargetHost, attempted: str) -> Notes:
    """Fault C19, by arithmetic: what the copy itself asks is asked of it before the swap."""
    if not host.settings:
        return []
    # Buffers with their headers, WAL buffers, and what each connection takes in shared tables (2 % and some).
    need = round(size_setting(host.settings, "shared_buffers") * 1.02)
    need += max(size_setting(host.settings, "wal_buffers"), 0)
    need += int(host.settings["max_connections"]) * 20_000
    if host.settings["huge_pages"] == "on" and host.huge_page_bytes:
        pages = -(-need // host.huge_page_bytes)
        if pages > host.huge_pages_free:
            raise Refused(
                "huge-pages-too-few",
                attempted=attempted,
                happened=f"huge_pages is on: about {pages} pages of {format_bytes(host.huge_page_bytes)} are needed, "
                f"{host.huge_pages_free} are free on this host",
                remedy=f"Give the host more (sysctl vm.nr_hugepages={pages + pages // 50 + 1}), or set huge_pages to "
                "try.",
                details={"needed": pages, "free": host.huge_pages_free},
            )
    elif host.memory_bytes and need > host.memory_bytes:
        raise Refused(
            "memory-too-small",
            attempted=attempted,
            happened=f"the server's configuration asks for {format_bytes(need)} of shared memory, this host has "
            f"{format_bytes(host.memory_bytes)}",
            remedy="Lower shared_buffers for this host (dbkeeper tune shows what suits it), then plan again.",
            details={"needed_bytes": need, "memory_bytes": host.memory_bytes},
        )
    return []


def _outside(backup: Backup) -> Notes:
    """Fault C15: whom the restored cluster will talk to once it has taken its place; nobody before that."""
    notes = []
    subscriptions = backup.settings.get("subscriptions") or []
    if subscriptions:
        notes.append(_note("note_subscriptions", names=", ".join(subscriptions)))
    servers = [f"{name} ({d['name']})" for d in databases(backup) for name in d.get("foreign_servers") or ()]
    if servers:
        notes.append(_note("note_foreign_servers", names=", ".join(servers)))
    jobs = sum(int(database.get("jobs") or 0) for database in databases(backup))
    if jobs:
        notes.append(_note("note_jobs", count=jobs))
    return notes
