# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Base backup, and restore with replay to a moment: three ways on one server, in turn."""

from __future__ import annotations

from tests.integration.harness.sandbox import Sandbox

from .record import Row, Turn, alternately, compared, say, spent
from .server import Server
from .ways import CommonScript, Ours, PgBackRest, Way

_DOWNTIME_SECONDS = 5.0


def measure(sandbox: Sandbox, *, megabytes: int, wal_megabytes: int, repeat: int) -> list[Row]:
    """Rows 1 to 4 of the budget, and the push of one segment."""
    server = Server(sandbox, "main")
    server.set(archive_command="true")
    server.start()
    server.fill(megabytes)
    size = server.size_bytes()
    first = server.keep_wal()
    ours, script, backrest = Ours(server), CommonScript(server), PgBackRest(server)
    ways: list[Way] = [script, ours, backrest]
    said = {"size_bytes": size, "cache": "warm for all", "fsync": "each its default, on"}

    say(f"base backup of {size >> 20} MB")
    backups = alternately(repeat, [_backup(way) for way in ways])
    server.archive_with(ours.archive_command())
    wal = _history(server, wal_megabytes)
    moment = server.mark(1)
    server.mark(2)
    server.archive_all(timeout=600)
    _complete_archives(server, ways, first)
    server.quiet()

    downtimes: list[float] = []
    say(f"restore of {size >> 20} MB with {wal >> 20} MB of WAL to {moment}")
    restores = alternately(repeat, [_restore(way, moment, downtimes) for way in ways])
    said |= {"wal_bytes": wal}
    return [
        compared("base backup", script.name, backups, 0.12, **said),
        compared("restore and replay to a time", script.name, restores, 0.45, **said),
        compared("base backup", backrest.name, backups, 0.9, **said),
        compared("restore and replay to a time", backrest.name, restores, 0.9, **said),
        *_pushes(server, ours, backrest, first),
        _downtime(sandbox, size, downtimes, repeat),
    ]


def _backup(way: Way) -> Turn:
    """Its own archive_command during its turn; the backup of the last turn is the one that stays."""

    def before() -> None:
        if way.has_backup:
            way.forget_backup()
        way.server.archive_with(way.archive_command())
        way.server.archive_all(timeout=120)
        way.server.sql("CHECKPOINT")
        way.server.quiet()

    def measured() -> None:
        way.backup()
        way.has_backup = True

    return Turn(way.name, measured, before)


def _history(server: Server, megabytes: int) -> int:
    begun = server.value("SELECT pg_current_wal_lsn()::text")
    server.work(megabytes)
    return int(server.value("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s)::bigint", begun))


def _complete_archives(server: Server, ways: list[Way], first: str) -> None:
    """The server archived for one of them at a time: each gets what it lacks, from the server's own WAL."""
    segments = server.segments(first)
    say(f"bringing {len(segments)} segments into every archive")
    for way in ways:
        for segment in segments:
            way.push(segment)


def _restore(way: Way, moment: str, downtimes: list[float]) -> Turn:
    def afterwards() -> None:
        found = way.marks()
        if found != [1]:
            raise RuntimeError(f"{way.name} has not restored to the moment: marks {found}, and not [1]")
        if isinstance(way, Ours):
            downtimes.append(way.record["downtime_seconds"])
            say(f"    {way.record['seconds']}")
        way.forget_restore()

    return Turn(way.name, lambda: way.restore(moment), way.server.quiet, afterwards)


def _pushes(server: Server, ours: Ours, backrest: PgBackRest, first: str) -> list[Row]:
    """One segment each, turn by turn, into repositories that don't have them."""
    segments = server.segments(first)[-12:]
    fresh = backrest.place / "fresh"
    backrest.configure(fresh)
    config = server.config_path.read_text()
    repository = server.root / "fresh"
    server.config_path.write_text(config.replace(f'"{server.repository}"', f'"{repository}"'))
    from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

    Repository(str(repository), server.name).create()
    runs: dict[str, list[float]] = {ours.name: [], backrest.name: []}
    for segment in segments:
        for way in (ours, backrest):
            with spent(runs[way.name]):
                way.push(segment)
            server.quiet()
    server.config_path.write_text(config)
    say(f"  archive push: {runs}")
    return [compared("archive push of one 16 MB segment", backrest.name, runs, 1.2)]


def _downtime(sandbox: Sandbox, size: int, large: list[float], repeat: int) -> Row:
    """The same restore of a database a tenth as large."""
    server = Server(sandbox, "small")
    server.start()
    server.fill(size // 10 >> 20)
    small_size = server.size_bytes()
    way = Ours(server)
    way.backup()
    server.work(64)
    moment = server.mark(1)
    server.mark(2)
    server.archive_all(timeout=600)
    small: list[float] = []
    for _number in range(repeat):
        way.restore(moment)
        small.append(way.record["downtime_seconds"])
        way.forget_restore()
    server.stop()
    name = f"the same, {small_size >> 20} MB"
    runs = {"ours": large, name: small}
    row = compared(f"downtime of a restore of {size >> 20} MB onto a live host", name, runs, 2.0)
    return Row(
        "downtime of a restore onto a live host",
        row.ours_seconds,
        name,
        row.other_seconds,
        row.ratio,
        f"<= {_DOWNTIME_SECONDS:g} s",
        row.ours_seconds <= _DOWNTIME_SECONDS,
        runs,
        {"size_bytes": size},
    )
