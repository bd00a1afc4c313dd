# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""pg_restore and psql at work: their progress, and every error that they say counted.

pg_restore goes on after an error, calls the number of errors a warning at its end, and what it made is a database that
looks whole. Here each error fails the load, unless somebody has accepted it by its text.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..cluster.config import ClusterConfig
from ..core.errors import Failed, KeeperError
from ..core.progress import Progress
from ..core.run import start, stop_group
from .load_count import Meanwhile
from .session import Session, connection_string

_DOING = re.compile(
    r"^pg_restore: (?:creating|processing data for|executing|launching item|processing item) "
)
_FINISHED = re.compile(r"^pg_restore: finished item (\d+) ")
_ERROR = re.compile(r"^pg_restore: error: (.*)", re.DOTALL)
_IGNORED = re.compile(r"^pg_restore: warning: errors ignored on restore: (\d+)")
# In English: see the options below.
_DEADLOCK = "deadlock detected"
_ENDED = "pg_restore ended with status"
_KEPT_ERRORS = 50
_BLOCK = 1 << 20
_OPTIONS = (
    *("statement_timeout=0", "lock_timeout=0", "idle_in_transaction_session_timeout=0"),
    *("default_transaction_read_only=off", "synchronous_commit=off"),
    # Errors are accepted by their texts, which must not depend on the server.
    "lc_messages=C",
)


@dataclass
class Errors:
    """What went wrong: ``fatal`` texts fail the load, ``accepted`` ones were listed by somebody."""

    patterns: Sequence[str]
    fatal: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, text: str) -> None:
        """One error with all that was said of it."""
        self.count += 1
        kept = self.accepted if any(re.search(one, text) for one in self.patterns) else self.fatal
        if len(kept) < _KEPT_ERRORS or kept is self.fatal:
            kept.append(text[:2000])


def environment() -> dict[str, str]:
    """For programs that load: no limits of time; a commit need not wait for the disk, the swap's does."""
    return {
        "PGAPPNAME": "dbkeeper load",
        "PGCONNECT_TIMEOUT": "10",
        "PGOPTIONS": " ".join(f"-c {one}" for one in _OPTIONS),
    }


def restore_beside(
    config: ClusterConfig,
    argv: Sequence[str],
    path: str,
    database: str,
    *,
    entries: Iterable[int] | None,
    accept: Sequence[str],
    progress: Progress,
    total: int,
    meanwhile: Meanwhile,
    look: Callable[[], None],
    attempted: str,
) -> Errors:
    """Run pg_restore into a database of our own; ``look`` is called while it works, and ends it by raising.

    Raises :class:`Failed` ``load-failed`` with the errors in details.
    """
    errors = Errors(accept)
    with _list_file(config, entries) as chosen:
        command = [config.program(argv[0]), *argv[1:], *chosen, "-w"]
        command += ["-h", config.socket_directory, "-p", str(config.port), "-U", config.superuser]
        command += ["-d", connection_string(database), path]
        process = start(command, env=environment(), stdout=None)
        done, current, doing, ignored = 0, "", "", None
        try:
            for raw in process.stderr or ():
                line = raw.decode(errors="replace")
                if not line.startswith("pg_restore: "):
                    current += line if current else ""
                    continue
                if current:
                    errors.add(_text(current))
                current = line if _ERROR.match(line) else ""
                if finished := _FINISHED.match(line):
                    meanwhile.finished(int(finished[1]))
                if _DOING.match(line):
                    meanwhile.said(doing)
                    doing = line[12:-1]
                    look()
                    done += 1
                    progress.update(min(done, total), total=total, note=line[12:-1][:80])
                if match := _IGNORED.match(line):
                    ignored = int(match[1])
            if current:
                errors.add(_text(current))
            status = process.wait()
        finally:
            if process.poll() is None:
                stop_group(process)
            if process.stderr:
                process.stderr.close()
    # With several jobs a job counts once, whatever number of errors it met.
    if status != 0 and (ignored is None or ignored > errors.count):
        errors.fatal.append(f"{_ENDED} {status}")
    if errors.fatal:
        raise load_failed(attempted, errors.fatal)
    return errors


def run_script(session: Session, config: ClusterConfig, blocks: Iterator[bytes], *, attempted: str) -> None:
    """Let an open session take in SQL through a pipe with a name; the first error ends it.

    Raises :class:`Failed` ``load-failed``, and what ``blocks`` raises.
    """
    directory = tempfile.mkdtemp(prefix="load-", dir=config.state_directory)
    pipe, fault = f"{directory}/sql", list[BaseException]()
    os.mkfifo(pipe, 0o600)

    def pump() -> None:
        try:
            with open(pipe, "wb", buffering=0) as handle:
                for block in blocks:
                    handle.write(block)
        except BrokenPipeError:
            # psql has stopped at an error, which it tells itself.
            pass
        except BaseException as error:
            fault.append(error)

    thread = threading.Thread(target=pump, name="load", daemon=True)
    thread.start()
    try:
        session.do(f"\\o /dev/null\n\\i {psql_quoted(pipe)}\n\\o\nSELECT WHERE false")
    except KeeperError as error:
        raise load_failed(attempted, [error.happened]) from error
    finally:
        # A pump that still waits for somebody to read is let go.
        with contextlib.suppress(OSError):
            os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
        thread.join(timeout=60)
        shutil.rmtree(directory, ignore_errors=True)
    if fault:
        raise fault[0]


def script_blocks(
    config: ClusterConfig, argv: Sequence[str], path: str, *, entries: Iterable[int] | None, attempted: str
) -> Iterator[bytes]:
    """What pg_restore would run, as SQL. Raises :class:`Failed` ``load-failed``."""
    with _list_file(config, entries) as chosen:
        words = tempfile.mkstemp(prefix="dbkeeper-")
        os.unlink(words[1])
        with os.fdopen(words[0], "rb") as said:
            command = [config.program(argv[0]), *(one for one in argv[1:] if one != "-v"), *chosen]
            process = start([*command, "-f", "-", path], stderr=said.fileno(), env=environment())
            try:
                while process.stdout and (block := process.stdout.read(_BLOCK)):
                    yield block
                if process.wait() != 0:
                    said.seek(0)
                    raise load_failed(attempted, [said.read().decode(errors="replace").strip()])
            finally:
                if process.poll() is None:
                    stop_group(process)
                if process.stdout:
                    process.stdout.close()


def load_failed(attempted: str, errors: Sequence[str], code: str = "load-failed") -> Failed:
    """The error of a load that went wrong; what was there is as it was."""
    first = errors[0] if errors else "no message"
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    return Failed(
        code,
        attempted=attempted,
        happened=f"{first}{more}; what was loaded has been removed, everything else is as it was",
        remedy="Remove the cause, leave the entry out (--exclude), or accept the error by its text (--accept-error).",
        details={"errors": list(errors[:_KEPT_ERRORS]), "count": len(errors)},
    )


def deadlocked(error: KeeperError) -> bool:
    """Whether pg_restore's own processes locked each other out, which says nothing about the dump: with several jobs it
    builds and attaches what belongs together (indexes of partitions, foreign keys) at the same time."""
    said = [one for one in error.details.get("errors", []) if not one.startswith(_ENDED)]
    return bool(said) and all(_DEADLOCK in one for one in said)


def psql_quoted(text: str) -> str:
    """An argument of a psql command."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _text(raw: str) -> str:
    match = _ERROR.match(raw)
    return " ".join((match[1] if match else raw).split())


@contextlib.contextmanager
def _list_file(config: ClusterConfig, entries: Iterable[int] | None) -> Iterator[list[str]]:
    """``-L`` with the entries; nothing where all are wanted."""
    if entries is None:
        yield []
        return
    descriptor, name = tempfile.mkstemp(prefix="load-", suffix=".list", dir=config.state_directory)
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.writelines(f"{number};\n" for number in entries)
        yield ["-L", name]
    finally:
        os.unlink(name)
