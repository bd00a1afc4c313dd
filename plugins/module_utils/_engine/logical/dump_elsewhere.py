# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The same dump for a repository elsewhere: made, listed back and hashed here, then sent through the door as it is.

The door hashes what arrives, and knows a dump from the moment when all of it is there. One that is killed before leaves
nothing there, and here what the next one removes.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from ..backup.copy import stop_strangers
from ..core.errors import KeeperError
from ..core.files import make_directory
from ..repository.catalog import RUNNING
from ..repository.dumps import Dump, read_shelf
from ..repository.remote.client import RemoteRepository
from ..repository.remote.dumping import file_pieces, send_dump
from .dump_execute import PROGRAMS, DumpExecution


class RemoteDumpExecution(DumpExecution):
    """A dump that goes to another host."""

    @property
    def _door(self) -> RemoteRepository:
        if not isinstance(self.repository, RemoteRepository):
            raise TypeError(f"{self.repository.path} is no repository elsewhere")
        return self.repository

    def _discard(self) -> None:
        scratch = f"{self.state.repository_path}/dump"
        stop_strangers(scratch, PROGRAMS)
        shutil.rmtree(scratch, ignore_errors=True)
        for one in self.state.discard:
            self._door.line.ask(
                "dump-fail",
                attempted=self.attempted,
                database=one.database,
                label=one.label,
                why="it was interrupted; a later run removed its data",
            )

    def _register(self) -> None:
        """Nothing yet: the door would give it up as soon as the way is cut, and a dump may take hours."""
        make_directory(self.plan.directory, 0o700)

    def _place(self) -> None:
        self.progress.phase("send", total=self.entry.stored_bytes, note=self.plan.label)
        sent = 0

        def told(count: int) -> None:
            nonlocal sent
            sent += count
            self.progress.update(sent)

        send_dump(
            self._door,
            self.entry,
            lambda file: file_pieces(f"{self.plan.incoming}/{file.name}"),
            attempted=self.attempted,
            told=told,
        )
        shutil.rmtree(self.plan.directory)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self.plan.directory))

    def _note_failure(self, failed: Dump, error: BaseException) -> None:
        """What had begun to arrive, the door has given up when the way was cut; and it is told where it was not."""
        shutil.rmtree(self.plan.directory, ignore_errors=True)
        if isinstance(error, KeeperError) and error.code == "repository-unreachable":
            return
        # Before it was sent there is nothing to give up, which is refused.
        with contextlib.suppress(KeeperError):
            if any(one.key == failed.key for one in self._running()):
                self._door.line.ask(
                    "dump-fail",
                    attempted=self.attempted,
                    database=failed.database,
                    label=failed.label,
                    why=str(failed.failure),
                )

    def _running(self) -> list[Dump]:
        return [one for one in read_shelf(self.repository).dumps if one.status == RUNNING]
