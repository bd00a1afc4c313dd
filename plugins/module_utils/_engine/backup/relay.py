# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A socket between pg_basebackup and its server that passes everything on, and knows when the backup begins.

pg_basebackup insists on an empty directory and opens the archives in it by name afterwards. What is laid there in
between must be laid after it has looked, and before it writes: just when it asks for the backup (source: PostgreSQL,
pg_basebackup.c, main() and BaseBackup()).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable

_ASKS = b"BASE_BACKUP"
_BLOCK = 1 << 18
_POLL_SECONDS = 0.05


class Relay:
    """Listens in ``directory`` for one connection to the server in ``socket_directory``; ``begins`` is called once."""

    def __init__(self, directory: str, socket_directory: str, port: int, begins: Callable[[], None]) -> None:
        self._path = f"{directory}/.s.PGSQL.{port}"
        self._server = f"{socket_directory}/.s.PGSQL.{port}"
        self._begins: Callable[[], None] | None = begins
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="relay", daemon=True)
        self._listener = socket.socket(socket.AF_UNIX)

    def start(self) -> None:
        """Begin to listen. Raises OSError."""
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._listener.bind(self._path)
        self._listener.listen(1)
        self._thread.start()

    def stop(self) -> None:
        """Let go of both sides."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _work(self) -> None:
        while not select.select([self._listener], [], [], _POLL_SECONDS)[0]:
            if self._stop.is_set():
                return
        client, _dummy = self._listener.accept()
        # Whatever goes wrong here, pg_basebackup sees a connection that ended, and says so.
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._server)
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        buffer = memoryview(bytearray(_BLOCK))
        asked = b""
        while not self._stop.is_set():
            ready = select.select([client, server], [], [], _POLL_SECONDS)[0]
            for source in ready:
                count = source.recv_into(buffer)
                if not count:
                    return
                if source is client and self._begins is not None:
                    # It may come in two parts.
                    asked = asked[-len(_ASKS) :] + bytes(buffer[:count])
                    if _ASKS in asked:
                        self._begins()
                        self._begins = None
                (server if source is client else client).sendall(buffer[:count])
