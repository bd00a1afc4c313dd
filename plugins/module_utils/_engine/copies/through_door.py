# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy in a repository behind a door (``ssh://``): what this key has stored there it can neither change nor delete.

The door takes WAL, base backups, dumps and evidence, each by the words that a cluster's own host uses, and makes sure
of them by its own digests. What is kept there its host decides.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..cluster.wishes_copies import CopyWish
from ..core.errors import KeeperError
from ..repository.archive import push
from ..repository.catalog import FAILED, RUNNING, VERIFIED, Backup, read_catalog
from ..repository.dumps import Dump, read_shelf
from ..repository.evidence import is_verification
from ..repository.layout import Repository
from ..repository.opening import wal_source
from ..repository.remote.client import RemoteRepository, remote_repository
from ..repository.remote.dumping import send_dump
from .objects import DUMP, Group, Item
from .sealing import Outgoing
from .stores import Throttle

CHECKED = "door"
_PIECE = 1 << 18


def copy_through_door(
    cluster: str,
    state_directory: str,
    repository: Repository,
    groups: list[Group],
    wish: CopyWish,
    result: dict[str, Any],
    *,
    check: bool,
    progress: Callable[[int], None],
) -> None:
    """Send what is not there; ``result`` is filled in. Raises what the door and the way to it do."""
    there = remote_repository(wish.to, cluster, dict(wish.ssh or {}), state_directory)
    there.require(f"copy to {wish.name}")
    wal = {system: _missing_wal(repository, there, system) for system in repository.system_ids()}
    theirs = {one.label: one for one in read_catalog(there).backups}
    catalog = read_catalog(repository)
    ours = [one for one in catalog.backups if one.verified and catalog.fault(one) is None]
    backups = [
        one for one in ours if one.label not in theirs or theirs[one.label].status in (RUNNING, FAILED)
    ]
    evidence = _missing_evidence(repository, there)
    items = {item.key: item for group in groups for item in group.items}
    size = sum(item.bytes for one in backups for item in _items(items, one))
    count = sum(map(len, wal.values()))
    known = {one.key for one in read_shelf(there).dumps if one.status not in (RUNNING, FAILED)}
    wanted = {group.name for group in groups if group.kind == DUMP} - known
    dumps = [one for one in read_shelf(repository).dumps if one.verified and one.key in wanted]
    size += sum(one.stored_bytes for one in dumps)
    left_out = sorted(wanted - {one.key for one in dumps})
    result["plan"] = {
        "objects": len(items),
        "send": count
        + sum(len(one.files) for one in backups)
        + sum(len(one.files) for one in dumps)
        + len(evidence),
        "send_bytes": size,
        "compare": 0,
        "conflicts": [],
        "groups": [*(f"base/{one.label}" for one in backups), *(one.key for one in dumps)],
        "left_out": left_out,
    }
    result["changed"] = bool(count or backups or dumps or evidence)
    if check:
        return
    sent: dict[str, Any] = {"objects": 0, "bytes": 0, "adopted": 0, "compared": 0, "gone": [], "failures": []}
    sent.update(groups=[], checked={}, left_out=left_out)
    result["sent"] = sent

    def one_more(count: int) -> None:
        sent["objects"] += 1
        sent["bytes"] += count
        sent["checked"][CHECKED] = sent["objects"]
        progress(sent["bytes"])

    throttle = Throttle(wish.max_rate_kbytes)
    for system, names in wal.items():
        for name in names:
            one_more(_send_wal(repository, there, system, name, throttle))
    for one in backups:
        _send_backup(there, one, _items(items, one), throttle, one_more)
        sent["groups"].append(f"base/{one.label}")
    for dump in dumps:
        _send_dump(there, dump, items, throttle, one_more)
        sent["groups"].append(dump.key)
    for name, value in evidence.items():
        there.keep("evidence", name, value)
        one_more(0)


def _missing_wal(repository: Repository, there: RemoteRepository, system: int) -> list[str]:
    known = set()
    if system in there.system_ids():
        known = {one.name for one in wal_source(there, system).list_files()}
    prefix = repository.wal(system)
    mine = [
        one for one in wal_source(repository, system).list_files() if one.location.startswith(f"{prefix}/")
    ]
    return [one.name for one in mine if one.name not in known]


def _missing_evidence(repository: Repository, there: RemoteRepository) -> dict[str, dict[str, Any]]:
    known = set(there.documents("evidence"))
    found = {}
    for name, text in repository.documents("evidence").items():
        if name not in known and isinstance(text, bytes) and not is_verification(name):
            found[name] = json.loads(text)
    return found


def _items(items: dict[str, Item], backup: Backup) -> list[Item]:
    return [items[f"base/{backup.label}/{file.name}"] for file in backup.files]


def _send_wal(
    repository: Repository, there: RemoteRepository, system: int, name: str, throttle: Throttle
) -> int:
    """As the server would send it: unpacked, looked at, packed, and acknowledged when it is durable there."""
    with tempfile.TemporaryDirectory(prefix="dbkeeper-copy-") as scratch:
        path = f"{scratch}/{name}"
        if name.endswith(".history"):
            text = wal_source(repository, system).read_history(int(name[:8], 16))
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(text or "")
        else:
            wal_source(repository, system).fetch(name, path)
        stored = push(there, os.path.abspath(path), system_id=system)
    throttle.spend(int(stored["stored_bytes"]))
    return int(stored["stored_bytes"])


def _send_backup(
    there: RemoteRepository,
    backup: Backup,
    items: list[Item],
    throttle: Throttle,
    told: Callable[[int], None],
) -> None:
    label, line = backup.label, there.line
    attempted = f"copy backup {label} to {there.path}"
    begun = backup.changed(status=RUNNING, files=(), pinned=False)
    line.ask("backup-begin", attempted=attempted, tries=1, label=label, entry=begun.to_dict())
    try:
        for item in items:
            source = Outgoing(item, throttle, None)
            line.send(
                "backup-put",
                _pieces(source),
                partial(_end, source),
                attempted=attempted,
                label=label,
                name=item.key.rpartition("/")[2],
            )
            told(source.plain_bytes)
        final = backup.changed(status=VERIFIED, pinned=False)
        line.ask("backup-finish", attempted=attempted, tries=1, label=label, entry=final.to_dict())
    except (KeeperError, OSError):
        # The door gives up what was not finished when the conversation ends.
        line.close()
        raise


def _send_dump(
    there: RemoteRepository,
    dump: Dump,
    items: dict[str, Item],
    throttle: Throttle,
    told: Callable[[int], None],
) -> None:
    send_dump(
        there,
        dump,
        lambda file: _pieces(Outgoing(items[f"{dump.key}/{file.name}"], throttle, None)),
        attempted=f"copy {dump.key} to {there.path}",
        told=told,
    )


def _pieces(source: Outgoing) -> Iterator[bytes]:
    for block in source.blocks():
        for begin in range(0, len(block), _PIECE):
            source.spend(min(_PIECE, len(block) - begin))
            yield block[begin : begin + _PIECE]


def _end(source: Outgoing) -> dict[str, Any]:
    """What the door holds what arrived against."""
    return {"bytes": source.plain_bytes, "digest": source.plain_digest}
