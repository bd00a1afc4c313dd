# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The files of a base backup while it is being taken, and what is removed when it came to nothing."""

from __future__ import annotations

import contextlib
import os

from ..core.files import fsync_directory, remove_tree
from .catalog import MANIFEST

#: Below the backup's directory: what is still being written.
INCOMING = ".incoming"
SUFFIX = ".tar.zst"


def remove_data(directory: str) -> None:
    """Everything but the entry; names that we do not make stay."""
    if os.path.isdir(f"{directory}/{INCOMING}"):
        remove_tree(f"{directory}/{INCOMING}", made_by_us=INCOMING)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            if name.endswith((SUFFIX, ".tar")) or name == MANIFEST:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{directory}/{name}")
        fsync_directory(directory)
