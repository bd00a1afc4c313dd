# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One session in psql that stays open: statements go in one by one, answers come back as JSON, a line each.

A snapshot lives as long as the transaction that exported it, and ten thousand tables are counted in one transaction:
neither can be had from :func:`~..cluster.psql.query`, which is over when its statement is.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import tempfile
from types import TracebackType
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import environment, server_error
from ..core.run import start, stop_group


class Session:
    """A connection as the superuser over the socket, open for the length of a ``with`` block.

    Every error ends it (``ON_ERROR_STOP``). Raises what :func:`~..cluster.psql.query` raises.
    """

    def __init__(
        self, config: ClusterConfig, database: str, *, attempted: str, user: str | None = None
    ) -> None:
        self._attempted = attempted
        self._place = (config.socket_directory, config.port)
        argv = [config.program("psql"), "-X", "-q", "-w", "-t", "-A", "-v", "ON_ERROR_STOP=1"]
        argv += ["-v", "VERBOSITY=verbose", "-h", config.socket_directory, "-p", str(config.port)]
        argv += ["-U", user or config.superuser, "-d", connection_string(database)]
        descriptor, name = tempfile.mkstemp(prefix="dbkeeper-")
        os.unlink(name)
        self._words = os.fdopen(descriptor, "rb")
        self._psql = start(
            argv, stdin=-1, stdout=-1, stderr=self._words.fileno(), env=environment(0, "pg_catalog")
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with contextlib.suppress(BrokenPipeError):
                self._psql.communicate(timeout=30)
        if self._psql.poll() is None:
            stop_group(self._psql)
        for pipe in (self._psql.stdin, self._psql.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._words.close()

    def ask(self, sql: str) -> list[Any]:
        """Run a statement; what each line of its answer says as JSON (so it selects JSON, one column)."""
        mark = f"done-{secrets.token_hex(8)}"
        stdin, stdout = self._psql.stdin, self._psql.stdout
        if stdin is None or stdout is None:
            raise ValueError("the session has no pipes")
        with contextlib.suppress(BrokenPipeError):
            stdin.write(f"{sql.rstrip().rstrip(';')}\n;\n\\echo {mark}\n".encode())
            stdin.flush()
        answer: list[Any] = []
        for line in stdout:
            text = line.decode().rstrip("\n")
            if text == mark:
                return answer
            answer.append(json.loads(text))
        status = self._psql.wait()
        self._words.seek(0)
        raise server_error(
            status, self._words.read().decode(errors="replace"), sql, self._attempted, *self._place
        )

    def cancel(self) -> None:
        """End the statement that runs, from another thread, which is told so by an error: psql asks the server."""
        with contextlib.suppress(ProcessLookupError):
            self._psql.send_signal(signal.SIGINT)

    def do(self, sql: str) -> None:
        """Run a statement that answers nothing."""
        self.ask(sql)


def connection_string(database: str) -> str:
    """A database's name for ``-d``: as it stands, a name with ``=`` in it would be read as connection parameters."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"
