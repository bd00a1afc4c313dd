# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Archive push to a repository elsewhere: ssh is started first, zstd second, and everything else happens meanwhile.

The segment is sent while it is being compressed; its checksum goes last. The door answers when name and bytes are on
its disk, not before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..compressor import Compressor
from .client import RemoteRepository
from .frames import DATA

if TYPE_CHECKING:
    from ..archive import Offered
    from ..layout import Repository

_BLOCK = 1 << 18
_SET_PIPE_SIZE = 1031


def push_elsewhere(repository: Repository, offered: Offered, system_id: int, level: int) -> dict[str, Any]:
    """Archive what the server offers; see :func:`archive.push`."""
    if not isinstance(repository, RemoteRepository):
        raise TypeError(f"{repository.path} is no repository elsewhere")
    conversation = repository.line.way.open(offered.attempted)
    offered.mind_signals()
    try:
        conversation.greet(repository.cluster)
        conversation.ask({"verb": "wal-put", "name": offered.name, "system_id": str(system_id)})
        for piece in _plain(offered) if offered.plain else _packed(offered, level):
            conversation.send(DATA, piece)
        conversation.end({"digest": offered.digest})
        answer = conversation.answer()
    except BaseException:
        conversation.close()
        raise
    return {
        **offered.result(str(answer["outcome"]), str(answer["location"]), int(answer["stored_bytes"])),
        "signature": answer["signature"],
    }


def _plain(offered: Offered) -> Iterator[bytes]:
    offered.check()
    offered.hash()
    yield os.pread(offered.descriptor, 1 << 20, 0)


def _packed(offered: Offered, level: int) -> Iterator[memoryview]:
    """What zstd makes of it, while it makes it; the checksum is taken at the same time."""
    import fcntl
    import threading

    reader, writer = os.pipe()
    try:
        compressor = Compressor(offered.descriptor, writer, level=level, attempted=offered.attempted)
    finally:
        os.close(writer)
    faults: list[BaseException] = []

    def hash_aside() -> None:
        try:
            offered.hash()
        except BaseException as error:
            faults.append(error)

    hasher = threading.Thread(target=hash_aside, name="hash", daemon=True)
    try:
        try:
            fcntl.fcntl(reader, _SET_PIPE_SIZE, 1 << 20)
        except OSError:
            # Only speed is lost.
            faults.clear()
        offered.check()
        hasher.start()
        buffer = memoryview(bytearray(_BLOCK))
        while True:
            count = os.readv(reader, [buffer])
            if not count:
                break
            yield buffer[:count]
        compressor.finish()
        hasher.join()
        if faults:
            raise faults[0]
    finally:
        compressor.abandon()
        os.close(reader)
