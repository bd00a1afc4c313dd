# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What archive-get is asked: a repository, a plan and a pg_wal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.archive import push
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.get import archive_get
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.spool import Spool

from .stored import Wal, make_repository

COUNT = 14


class World:
    """A repository with all segments, a plan for them, and a pg_wal that asks."""

    def __init__(self, root: Path, wal: Wal) -> None:
        self.wal = wal
        self.root = root
        self.repository = make_repository(root / "repository")
        for path in wal.segments:
            push(self.repository, str(path), system_id=wal.system_id)
        self.names = [path.name for path in wal.segments]
        self.spool_path = root / "spool"
        self.plan = root / "plan.json"
        self.pg_wal = root / "pg_wal"
        self.pg_wal.mkdir()
        self.write()

    def packed(self, position: int) -> str:
        """The identity by its stored bytes."""
        return f"zstd:{hashlib.sha256(self.stored(position).read_bytes()).hexdigest()}"

    def write_packed(self) -> None:
        """The plan of a proof that read the archive itself."""
        segments = [[name, self.packed(position)] for position, name in enumerate(self.names[:-1])]
        self.write(format=2, segments=segments)

    def write(self, **changes: Any) -> None:
        value = {
            "format": 1,
            "plan_id": "plan1",
            "repository": self.repository.root,
            "cluster": "main",
            "system_id": str(self.wal.system_id),
            "timeline": 1,
            "wal_segment_size": self.wal.segment_bytes,
            "segments": [[name, self.wal.digest(i)] for i, name in enumerate(self.names[:-1])],
            "histories": [],
            "spool": str(self.spool_path),
            "prefetch": 4,
        }
        self.plan.write_text(json.dumps(value | changes))

    @property
    def spool(self) -> Spool:
        return Spool(str(self.spool_path), "plan1")

    def stored(self, position: int) -> Path:
        return Path(self.repository.timeline(self.wal.system_id, 1)) / f"{self.names[position]}.zst"

    def ask(self, name: str) -> int:
        """As the server does: the answer, and the file if there is one."""
        return archive_get(str(self.plan), name, str(self.pg_wal / "RECOVERYXLOG"))

    def got(self) -> bytes:
        """What was delivered; taken away, as the server does when it asks for the next."""
        path = self.pg_wal / "RECOVERYXLOG"
        content = path.read_bytes()
        path.unlink()
        assert list(self.pg_wal.iterdir()) == []
        return content

    def delivers(self, position: int) -> None:
        assert self.ask(self.names[position]) == 0
        assert self.got() == self.wal.segments[position].read_bytes()

    def faults(self, name: str, code: str, *words: str) -> None:
        """255, nothing delivered, and the cause left for the restore."""
        assert self.ask(name) == 255
        assert list(self.pg_wal.iterdir()) == []
        fault = json.loads((self.spool_path / "fault.json").read_text())
        assert (fault["code"], fault["name"]) == (code, name)
        for word in words:
            assert word in fault["text"]
