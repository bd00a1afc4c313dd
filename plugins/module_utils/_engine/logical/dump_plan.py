# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From what is asked and what is there to what is done: pure, so that every refusal is a row in a table of tests."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.clock import label_time
from ..core.errors import KeeperError, Refused
from ..core.sizes import format_bytes, format_duration
from ..repository.dumps import DATA_NAMES, DUMP_INCOMING, Dump, encode_name, label_suffix
from .dump_request import DumpRequest
from .dump_state import DumpState
from .rows import COUNT, DIGEST, NONE
from .session import connection_string

#: From this major version on pg_dump knows lz4 and zstd (release notes of 16).
KNOWS_ZSTD = 16
_SUFFIXES = {"gzip": ".gz", "lz4": ".lz4", "zstd": ".zst"}
#: A custom dump of ordinary rows is at most so much of the database (which has indexes, too).
_FIRST_GUESS = 0.5
_MARGIN = 1.2
_SPARE_BYTES = 32 << 20


@dataclass(frozen=True)
class DumpPlan:
    """What will be done. ``dump`` is the one that satisfies the request already; then nothing is.

    ``argv`` lacks the snapshot, which is not there yet. ``pipe`` is the program that compresses what pg_dump writes to
    its standard output, empty where pg_dump does it. ``discard``: keys of what killed or failed runs left.
    """

    key: str
    label: str
    series: str
    reason: str
    dump: Dump | None = None
    sequence: int = 0
    argv: tuple[str, ...] = ()
    pipe: tuple[str, ...] = ()
    globals_argv: tuple[str, ...] = ()
    directory: str = ""
    data: str = ""
    compression: str = "none"
    discard: tuple[str, ...] = ()
    needed_bytes: int = 0
    #: As much as the last of its series, for the progress that is shown; None where there is none.
    expected_bytes: int | None = None
    free_bytes: int = 0
    estimate: str = ""
    #: What is recorded of rows: none, count, digest.
    rows: str = NONE
    warnings: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.dump is None

    @property
    def incoming(self) -> str:
        """Where it is written until it is whole."""
        return f"{self.directory}/{DUMP_INCOMING}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the same keys whether it is carried out or not."""
        return {
            "key": self.key,
            "label": self.label,
            "series": self.series,
            "reason": self.reason,
            "steps": self.steps(),
            "argv": list(self.argv),
            "directory": self.directory,
            "data": self.data,
            "compression": self.compression,
            "discard": list(self.discard),
            "needed_bytes": self.needed_bytes,
            "free_bytes": self.free_bytes,
            "estimate": self.estimate,
            "rows": self.rows,
            "warnings": list(self.warnings),
        }

    def steps(self) -> list[str]:
        """What is done, in words; empty when nothing is."""
        if not self.changes:
            return []
        steps = [f"remove what the unfinished {key} left" for key in self.discard]
        steps.append(f"write the entry of {self.key}: running")
        steps.append(" ".join([*self.argv, *(["|", *self.pipe] if self.pipe else [])]))
        if self.rows != NONE:
            steps.append(
                {COUNT: "count", DIGEST: "count and digest"}[self.rows] + " the rows of its tables meanwhile"
            )
        if self.globals_argv:
            steps.append(" ".join(self.globals_argv))
        steps.append("list it back, hash it, make it durable, give it its name")
        steps.append("write its entry: verified")
        return steps


def make_dump_plan(request: DumpRequest, state: DumpState) -> DumpPlan:
    """Decide. Raises :class:`Refused`: ``dump-label-taken``, ``server-not-running``, ``database-unknown``,
    ``database-closed``, ``repository-not-writable``, ``compression-unknown``, ``space-too-little``."""
    series = request.series_name
    satisfied = _satisfied(request, series, state)
    if satisfied is not None:
        found, why = satisfied
        return DumpPlan(found.key, found.label, series, why, dump=found)
    _check_server(request, state)
    label = request.label or _free_label(request, series, state)
    key = f"dump/{encode_name(request.database)}/{label}"
    directory = f"{state.repository_path}/{key}"
    compression = _compression(request, state.config)
    data = DATA_NAMES[request.format] + (
        _SUFFIXES.get(compression.partition(":")[0], "") if request.format == "plain" else ""
    )
    incoming = f"{directory}/{DUMP_INCOMING}"
    argv, pipe = _commands(request, state.config, compression, f"{incoming}/{data}")
    needed, estimate = _space(request, series, state)
    plan = DumpPlan(
        key=key,
        label=label,
        series=series,
        reason=_reason(request),
        sequence=max((one.sequence for one in state.shelf.of(request.database)), default=0) + 1,
        argv=argv,
        pipe=pipe,
        globals_argv=_globals(request, state) if request.globals else (),
        directory=directory,
        data=data,
        compression=compression,
        discard=tuple(one.key for one in state.discard),
        needed_bytes=needed,
        expected_bytes=next((one.stored_bytes for one in reversed(_same(request, series, state))), None),
        free_bytes=state.disk.free_bytes,
        estimate=estimate,
        rows=_rows(request, state),
        warnings=_warnings(request, state),
    )
    if plan.needed_bytes > plan.free_bytes:
        raise _refused(
            request,
            state,
            "space-too-little",
            f"the dump needs about {format_bytes(needed)} in {state.repository_path}, "
            f"{format_bytes(plan.free_bytes)} are free ({estimate})",
            "Enlarge the file system of the repository, or expire old dumps and backups: dbkeeper expire.",
            {"needed_bytes": needed, "free_bytes": plan.free_bytes},
        )
    return plan


def _satisfied(request: DumpRequest, series: str, state: DumpState) -> tuple[Dump, str] | None:
    mine = state.shelf.of(request.database)
    if request.label is not None:
        same = next((one for one in mine if one.label == request.label), None)
        if same is None or not same.verified:
            return None
        if _other(same, request):
            raise _refused(
                request,
                state,
                "dump-label-taken",
                f"{same.key} is verified and holds something else, and a good dump is never replaced",
                "Choose another label.",
                {"key": same.key, "selection": same.to_dict()["selection"], "format": same.format},
            )
        return same, f"dump {same.label} is verified"
    if request.max_age_seconds is None:
        return None
    fit = [one for one in mine if one.verified and one.series == series and not _other(one, request)]
    if not fit:
        return None
    age = (state.now - fit[-1].ended_at).total_seconds()
    # One from the future has a clock that was wrong: nobody knows how old it is.
    if not 0 <= age <= request.max_age_seconds:
        return None
    return (
        fit[-1],
        f"dump {fit[-1].label} is {format_duration(age)} old, {format_duration(request.max_age_seconds)} are allowed",
    )


def _other(dump: Dump, request: DumpRequest) -> bool:
    """Whether it holds something else than what is asked for."""
    return dump.selection != request.selection or (request.globals and not dump.globals)


def _reason(request: DumpRequest) -> str:
    if request.label is not None:
        return f"no verified dump is called {request.label}"
    if request.max_age_seconds is not None:
        return f"no verified dump is younger than {format_duration(request.max_age_seconds)}"
    return "a dump was asked for"


def _free_label(request: DumpRequest, series: str, state: DumpState) -> str:
    label = f"{label_time(state.now)}-{label_suffix(series)}"
    taken = {one.label for one in state.shelf.of(request.database)}
    taken |= {one.key.rpartition("/")[2] for one in state.shelf.damaged}
    number = 2
    candidate = label
    while candidate in taken:
        candidate, number = f"{label}.{number}", number + 1
    return candidate


def _check_server(request: DumpRequest, state: DumpState) -> None:
    if not state.server_running:
        raise _refused(
            request,
            state,
            "server-not-running",
            f"no server to ask: {state.reason}",
            "Start the server, then run the same command again.",
        )
    if state.database is None:
        near = get_close_matches(request.database, state.known, n=1)
        raise _refused(
            request,
            state,
            "database-unknown",
            f"there is no database {request.database!r}",
            f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(map(repr, state.known))}.",
            {"known": list(state.known)},
        )
    if not state.database.allows_connections:
        raise _refused(
            request,
            state,
            "database-closed",
            f"database {request.database!r} allows no connections (datallowconn)",
            "Dump another one: a template without connections holds nothing that initdb does not make.",
        )
    if not state.repository_writable:
        raise _refused(
            request,
            state,
            "repository-not-writable",
            f"{state.disk.path} does not let this user write",
            "Let the cluster's owner write there: the backup role sets owner and mode.",
        )


def _compression(request: DumpRequest, config: ClusterConfig) -> str:
    """What is really used; ``auto`` is the fastest that is small. A plain dump goes through the program zstd always."""
    tool, _dummy, level = request.compression.partition(":")
    if tool == "auto":
        return "zstd:3" if config.major >= KNOWS_ZSTD or request.format == "plain" else "gzip:1"
    if tool == "none":
        return "none"
    if config.major < KNOWS_ZSTD and (tool == "lz4" or (tool == "zstd" and request.format != "plain")):
        raise Refused(
            "compression-unknown",
            attempted=f"dump database {request.database} of cluster {config.cluster}",
            happened=f"pg_dump {config.major} does not know {tool} for the format {request.format}",
            remedy="Use gzip, auto, or the format plain with zstd.",
        )
    return f"{tool}:{level or {'gzip': '6', 'lz4': '1', 'zstd': '3'}[tool]}"


def _commands(
    request: DumpRequest, config: ClusterConfig, compression: str, path: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    # What it writes is made durable by us, which has to be done once.
    argv = [config.program("pg_dump"), "--verbose", "--no-sync", f"--format={request.format}"]
    argv.append(f"--lock-wait-timeout={request.lock_wait_seconds * 1000}")
    pipe: tuple[str, ...] = ()
    tool, _dummy, level = compression.partition(":")
    if request.format == "plain" and tool == "zstd":
        pipe = ("zstd", "-q", f"-{level}", *(["--ultra"] if int(level) > 19 else []), "-T0")
        argv.append("--compress=0")
    elif tool == "none":
        argv.append("--compress=0")
    elif config.major < KNOWS_ZSTD:
        argv.append(f"--compress={level}")
    else:
        argv.append(f"--compress={compression}")
    if request.jobs > 1:
        argv.append(f"--jobs={request.jobs}")
    chosen = request.selection
    argv += {"all": [], "schema": ["--schema-only"], "data": ["--data-only"]}[chosen.content]
    for option, patterns in (
        ("schema", chosen.schemas),
        ("exclude-schema", chosen.exclude_schemas),
        ("table", chosen.tables),
        ("exclude-table", chosen.exclude_tables),
    ):
        argv += [f"--{option}={pattern}" for pattern in patterns]
    if not pipe:
        argv.append(f"--file={path}")
    argv += [*_connection(request, config), f"--dbname={connection_string(request.database)}"]
    return tuple(argv), pipe


def _globals(request: DumpRequest, state: DumpState) -> tuple[str, ...]:
    argv = [state.config.program("pg_dumpall"), "--globals-only", *_connection(request, state.config)]
    if not state.superuser:
        # Only a superuser reads pg_authid, where passwords are.
        argv.append("--no-role-passwords")
    return (*argv, "--database=postgres")


def _connection(request: DumpRequest, config: ClusterConfig) -> list[str]:
    user = request.user or config.superuser
    return [
        "--no-password",
        f"--host={config.socket_directory}",
        f"--port={config.port}",
        f"--username={user}",
    ]


def _rows(request: DumpRequest, state: DumpState) -> str:
    """What is recorded of rows. A job keeps two processors busy, one in the server and one that compresses: where there
    are more, digesting every row costs nobody time; where there are not, it would be paid for by a slower dump."""
    if request.selection.content == "schema":
        return NONE
    if request.rows != "auto":
        return request.rows
    return DIGEST if state.processors > 2 * request.jobs else COUNT


def _space(request: DumpRequest, series: str, state: DumpState) -> tuple[int, str]:
    """Bytes needed in the repository, and where the figure comes from."""
    same = _same(request, series, state)
    size = state.database.size_bytes if state.database else 0
    if same:
        last = same[-1]
        grown = max(1.0, size / last.database_bytes) if last.database_bytes else 1.0
        needed = int(last.stored_bytes * grown * _MARGIN) + _SPARE_BYTES
        return (
            needed,
            f"{format_bytes(last.stored_bytes)} of {last.label}, and how the database has grown since",
        )
    if request.selection.kind == "schema" or not request.selection.whole:
        return _SPARE_BYTES, "a guess, as this is the first of its series"
    if request.compression == "none":
        return size + _SPARE_BYTES, f"{format_bytes(size)}, as nothing is compressed"
    return int(
        size * _FIRST_GUESS
    ) + _SPARE_BYTES, f"half of {format_bytes(size)}, as this is the first of its series"


def _same(request: DumpRequest, series: str, state: DumpState) -> list[Dump]:
    return [
        one
        for one in state.shelf.of(request.database)
        if one.verified and one.series == series and one.format == request.format
    ]


def _warnings(request: DumpRequest, state: DumpState) -> tuple[str, ...]:
    warnings = []
    if request.globals and not state.superuser:
        warnings.append("the role that dumps is no superuser: globals are without passwords")
    mine = [one for one in state.shelf.of(request.database) if one.verified]
    if mine and mine[-1].ended_at > state.now:
        warnings.append(f"dump {mine[-1].label} ended in the future by this host's clock (A18)")
    return tuple(warnings)


def _refused(
    request: DumpRequest,
    state: DumpState,
    code: str,
    happened: str,
    remedy: str,
    details: dict[str, Any] | None = None,
) -> KeeperError:
    return Refused(
        code,
        attempted=f"dump database {request.database} of cluster {state.config.cluster}",
        happened=happened,
        remedy=remedy,
        details=details,
    )
