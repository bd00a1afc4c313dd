# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A dump of a repository elsewhere brought here for a load: below the state directory, gone again when that is over.

pg_restore reads the contents first and its parts from several places at once, so that it needs the files themselves.
Where the way was cut, or the load was killed, what had arrived stays, and the next one fetches the rest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from ..cluster.config import ClusterConfig
from ..cluster.disks import file_system
from ..core.errors import KeeperError, Refused
from ..core.files import make_directory
from ..core.progress import Progress
from ..core.sizes import format_bytes
from ..repository.dumps import Dump, write_dump_entry
from ..repository.layout import Repository
from ..repository.remote.client import RemoteRepository
from ..repository.remote.dumping import fetch_dump
from .shelf import leased


@contextlib.contextmanager
def at_hand(config: ClusterConfig, repository: Repository, dump: Dump) -> Iterator[Repository]:
    """A repository on this host that has the dump: the very one, or a scratch one with nothing else in it.

    Raises :class:`Refused` ``load-no-space``, ``dump-unfit``; :class:`Failed` ``dump-file-missing``,
    ``dump-file-damaged``, what the way there raises.
    """
    if not isinstance(repository, RemoteRepository):
        yield repository
        return
    scratch = Repository(f"{config.state_directory}/fetched", config.cluster)
    make_directory(scratch.root, 0o700)
    _forget_others(scratch, dump)
    there = _stored_bytes(dump.directory(scratch))
    free = file_system(scratch.root).free_bytes
    if dump.stored_bytes - there > free:
        raise Refused(
            "load-no-space",
            attempted=f"fetch {dump.key}",
            happened=f"it has {format_bytes(dump.stored_bytes)}, and {format_bytes(free)} are free in {scratch.root}",
            remedy="Make room where the state directory lies, or load on the repository's own host.",
        )
    scratch.create()
    progress = Progress(f"{config.state_directory}/progress.json", "load", identity=dump.key)
    progress.phase("fetch", total=dump.stored_bytes, note=dump.label)
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        progress.update(done)

    resumable = False
    try:
        with leased(repository, dump, "load"):
            fetch_dump(repository, dump, dump.directory(scratch), told)
        write_dump_entry(scratch, dump)
        yield scratch
    except KeeperError as error:
        resumable = error.code == "repository-unreachable"
        raise
    finally:
        if not resumable:
            shutil.rmtree(scratch.root)


def _forget_others(scratch: Repository, dump: Dump) -> None:
    """What loads of other dumps have left."""
    root = f"{scratch.path}/dump"
    for parent, directories, _dummy in os.walk(root):
        for name in directories:
            path = f"{parent}/{name}"
            if not f"{dump.directory(scratch)}/".startswith(f"{path}/") and not path.startswith(
                f"{dump.directory(scratch)}/"
            ):
                shutil.rmtree(path, ignore_errors=True)


def _stored_bytes(directory: str) -> int:
    return sum(
        os.stat(f"{parent}/{name}").st_size for parent, _dummy, names in os.walk(directory) for name in names
    )
