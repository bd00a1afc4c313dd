# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What of ours a server has already: told once, so that nobody has to ask for each part of it again.

Several roles give parts to one configuration. Whoever looks first says what is there, and the others need not come.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from ..cluster.config import ClusterConfig
from .blocks import blocks_of, ended
from .plan import overridden
from .readback import Served
from .request import FileRequest
from .shown import shown
from .store import Known, digest_of, load
from .tree import Tree, read_text, read_tree

#: What is said of a server that does not run, or that waits for a restart.
NOTHING: dict[str, Any] = {"parts": [], "replication_roles": []}


def parts_in_effect(config: ClusterConfig, server: Served) -> dict[str, Any]:
    """The settings files and blocks of ours that are there and that nothing overrides; JSON values.

    Each with ``role``, ``path``, ``block``, ``mode`` and ``digest`` (SHA-256 of its content). One that may hold a
    secret is left out: a digest could be guessed from. Raises :class:`Refused` (``file-unreadable``).
    """
    tree = read_tree(config, {})
    found = []
    for path, known in sorted(load(config).items()):
        text = read_text(path)
        if text is None:
            continue
        # Removed since it was read: it is not there.
        with contextlib.suppress(FileNotFoundError):
            found += list(_parts(path, known, text, tree, server))
    return {"parts": found, "replication_roles": list(server.replicating)}


def all_in_effect(files: Iterable[FileRequest], told: Mapping[str, Any], replication_role: str) -> bool:
    """Whether what :func:`parts_in_effect` told holds all that is wanted. Pure."""
    there = [
        (part["role"], part["path"], part["block"], part["mode"], part["digest"]) for part in told["parts"]
    ]
    wanted = [
        (file.role, file.path, file.block, f"{file.mode:04o}", digest_of(ended(file.content)))
        for file in files
    ]
    return set(wanted) <= set(there) and (
        not replication_role or replication_role in told["replication_roles"]
    )


def _parts(path: str, known: Known, text: str, tree: Tree, server: Served) -> Iterable[dict[str, Any]]:
    mode = f"{stat.S_IMODE(os.stat(path).st_mode):04o}"
    contents: Mapping[str | None, str] = {None: text}
    if known.role != "settings":
        contents = dict(blocks_of(text))
    elif overridden(tree, [path]) or any(
        server.command_line.get(setting.name, setting.value) != setting.value
        for setting in tree.of_file(path)
    ):
        return
    for block, content in contents.items():
        if shown(content, known.role) == content:
            yield {
                "role": known.role,
                "path": path,
                "block": block,
                "mode": mode,
                "digest": digest_of(content),
            }
