# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From the wish for a copy to the place that it names, and the marker that tells the place from an empty mount point.

The marker is made once, on purpose (``dbkeeper copy NAME --prepare``). Where it is missing nothing is written: the disk
is not mounted, or the bucket is another one (fault F01).
"""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

from ..cluster.wishes_copies import DIRECTORY, S3, SFTP, CopyWish
from ..core.clock import format_utc, utc_now
from ..core.errors import Failed, Refused
from ..repository.layout import MARKER as REPOSITORY_MARKER
from .directory import DirectoryStore
from .s3 import S3Store
from .sftp import SftpStore
from .stores import MARKER, Patience, Store

FORMAT = 1


def open_store(wish: CopyWish, cluster: str, state_directory: str, patience: Patience | None = None) -> Store:
    """The place; whether it is the right one is asked by :func:`require_marker`.

    Raises :class:`Refused` ``copy-missing``, ``copy-denied``; :class:`Failed` ``copy-unreachable``.
    """
    if wish.kind == DIRECTORY:
        return DirectoryStore(f"{wish.to}/{cluster}")
    if wish.kind == SFTP:
        return SftpStore(wish, cluster, state_directory, patience or Patience())
    if wish.kind == S3:
        return S3Store(wish, cluster, patience or Patience())
    raise ValueError(f"a copy to {wish.to} has no store of its own")


def require_marker(store: Store, wish: CopyWish, cluster: str) -> dict[str, Any]:
    """The marker. Raises :class:`Refused` ``copy-missing``, ``copy-stranger``."""
    attempted = f"use the copy {wish.name}"
    data = store.read(MARKER)
    if data is None:
        raise Refused(
            "copy-missing",
            attempted=attempted,
            happened=f"{MARKER} is not in {store.where}: it is not mounted, or the copy was never made there",
            remedy=f"Mount the file system of {wish.to}; a copy that is new is made by: "
            f"dbkeeper copy {wish.name} --prepare",
            details={"copy": wish.name, "place": store.where},
        )
    try:
        value = json.loads(data)
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']!r}")
        owner = str(value["cluster"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(
            "file-damaged",
            attempted=attempted,
            happened=f"{MARKER} in {store.where} is damaged: {error}",
            remedy="Bring it back from another copy of that place, or remove it and prepare the copy again.",
        ) from error
    sealing = wish.sealing.tool if wish.sealing else None
    if owner != cluster or value.get("encryption") != sealing:
        what = f"it is of cluster {owner}, encryption {value.get('encryption') or 'none'}"
        raise Refused(
            "copy-stranger",
            attempted=attempted,
            happened=f"{store.where}: {what}; wanted is {cluster}, {sealing or 'none'}",
            remedy="Give each cluster and each kind of encryption a place of its own.",
            details={"copy": wish.name, "place": store.where},
        )
    return dict(value)


def prepare(store: Store, wish: CopyWish, cluster: str, known: str | None) -> bool:
    """Make the marker; False when it is there. ``known``: the identity that this host has seen there before.

    Raises :class:`Refused` ``copy-missing`` (it was there and is gone), ``copy-stranger``.
    """
    if store.read(MARKER) is not None:
        require_marker(store, wish, cluster)
        return False
    if known is not None:
        raise Refused(
            "copy-missing",
            attempted=f"prepare the copy {wish.name}",
            happened=f"{store.where} had a copy (identity {known}), and its {MARKER} has gone: it is not mounted?",
            remedy=f"Mount the file system of {wish.to}. If the place is really a new one, say so: "
            f"dbkeeper copy {wish.name} --prepare --anew",
            details={"copy": wish.name, "place": store.where},
        )
    if wish.kind == DIRECTORY and not os.path.isdir(wish.to):
        raise Refused(
            "copy-missing",
            attempted=f"prepare the copy {wish.name}",
            happened=f"{wish.to} is not there",
            remedy="Make that directory, or mount its file system, and give it to the cluster's owner.",
            details={"copy": wish.name, "place": store.where},
        )
    if wish.sealing is None:
        # So that it can be used as a repository just as it lies there.
        name = json.dumps(cluster)
        store.write(REPOSITORY_MARKER, f'{{"format":1,"cluster":{name}}}\n'.encode())
    value = {
        "format": FORMAT,
        "id": uuid.uuid4().hex,
        "cluster": cluster,
        "copy": wish.name,
        "encryption": wish.sealing.tool if wish.sealing else None,
        "made_at": format_utc(utc_now()),
    }
    store.write(MARKER, (json.dumps(value, sort_keys=True) + "\n").encode())
    return True
