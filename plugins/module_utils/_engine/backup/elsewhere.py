# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The same backup into a repository elsewhere: the steps are those of a local one, the door does what is done there.

The door keeps the backup's lock from its registration to its end, and gives the data up when the connection ends.
"""

from __future__ import annotations

import contextlib
import os

from ..core.errors import KeeperError
from ..core.files import make_directory, write_durable
from ..repository.catalog import MANIFEST, StoredFile
from ..repository.remote.client import RemoteRepository
from .copy import stop_strangers
from .execute import Execution
from .funnel import Funnel, discard
from .plan import SERVER_COMPRESSES, parent_manifest, relay_directory


class RemoteExecution(Execution):
    """A backup being sent."""

    @property
    def _door(self) -> RemoteRepository:
        if not isinstance(self.repository, RemoteRepository):
            raise TypeError(f"{self.repository.path} is no repository elsewhere")
        return self.repository

    def _discard(self) -> None:
        for label in self.plan.discard:
            stop_strangers(f"{self.state.scratch}/{label}")
            discard(f"{self.state.scratch}/{label}")
            why = "it was interrupted; a later run removed its data"
            self._door.line.ask("backup-fail", attempted=self.attempted, label=label, why=why)

    def _register(self) -> None:
        make_directory(self.state.scratch, 0o700)
        if self.plan.parent:
            content = self.repository.stored_bytes(self.plan.parent.label, MANIFEST)
            write_durable(parent_manifest(self.state, self.plan.parent.label), content, 0o600)
        self._door.line.ask(
            "backup-begin",
            attempted=self.attempted,
            tries=1,
            label=self.plan.label,
            entry=self.entry.to_dict(),
        )

    def _receiver(self) -> Funnel:
        server = self.state.server
        oids = [str(found.oid) for found in server.tablespaces if found.path] if server else []
        before = self.config.major < SERVER_COMPRESSES
        return Funnel(
            self._door,
            self.plan.label,
            self._incoming,
            ["base", *oids],
            relay=(relay_directory(self.state), self.config.socket_directory, self.config.port),
            level=self.plan.compression_level if before else None,
            attempted=self.attempted,
        )

    def _compress(self) -> None:
        """Done on the way."""

    def _place(self) -> tuple[StoredFile, ...]:
        self._forget_parent()
        return tuple(StoredFile(name, *self.digests[name]) for name in sorted(self.digests))

    def _record(self) -> None:
        self._door.line.ask(
            "backup-finish",
            attempted=self.attempted,
            tries=1,
            label=self.plan.label,
            entry=self.entry.to_dict(),
        )

    def _clean(self, why: str) -> None:
        stop_strangers(self._incoming)
        discard(self._incoming)
        self._forget_parent()
        # A line that was cut is not opened again for this: the door has given up already.
        with contextlib.suppress(KeeperError):
            self._door.line.ask(
                "backup-fail", attempted=self.attempted, tries=1, label=self.plan.label, why=why
            )

    def _forget_parent(self) -> None:
        if self.plan.parent:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(parent_manifest(self.state, self.plan.parent.label))
