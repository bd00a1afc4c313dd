# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Bringing a copy back into a directory that is a repository then: every object held against the digests of its sheet.

What is there already is kept and looked at; nothing is overwritten. A backup appears when all of it is there.
Damage in the copy is seen here (fault F06).
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cluster.repository_host import Described
from ..cluster.wishes_copies import DOOR, CopyWish
from ..core.clock import parse_moment
from ..core.errors import Failed, KeeperError, Refused
from ..core.files import digest, fsync_directory, make_directory
from ..core.locks import locked
from ..core.progress import Progress
from ..repository.compression import Damaged, plain_digest
from ..repository.compressor import write_failure
from ..repository.layout import Repository
from ..wal.lsn import parse_lsn
from .choice import BackTarget, Wanted, choose_back, listing, unlisted
from .objects import BASE, DUMP
from .opening import open_store, require_marker
from .operation import read_sheets, there, wished
from .sealing import Opener
from .sheets import Kept, Sheet
from .status import known_status
from .stores import COPYING, Patience, Store

_ENTRIES = ("/backup.json", "/dump.json")

Tell = Callable[[int], None]


@dataclass
class Fetched:
    """What came back."""

    objects: int = 0
    bytes: int = 0
    present: int = 0
    unlisted: int = 0
    backups: list[str] = field(default_factory=list)


def bring_back(
    config: Described,
    names: Sequence[str],
    directory: str,
    *,
    identity_file: str | None = None,
    target: BackTarget | None = None,
    check: bool = False,
    patience: Patience | None = None,
) -> dict[str, Any]:
    """Bring back from the one copy of ``names`` into ``directory``, from which ``plan`` and ``restore`` work then.

    ``identity_file``: the private key of an encrypted copy. Raises :class:`Refused` ``copy-unknown``,
    ``copy-missing``, ``copy-nothing``, ``copy-identity-missing``, ``copy-no-room``; :class:`Failed`
    ``copy-object-missing``, ``copy-object-damaged``, ``copy-conflict``, ``copy-unreachable``.
    """
    attempted = f"bring back cluster {config.cluster} from a copy"
    if len(names) != 1:
        raise Refused(
            "copy-unknown",
            attempted=attempted,
            happened=f"{len(names)} copies were named",
            remedy=f"Name the one to bring back from: {', '.join(one.name for one in config.copies) or 'none'}.",
        )
    wish = wished(config, names, attempted)[0]
    if wish.kind == DOOR:
        raise Refused(
            "copy-is-repository",
            attempted=attempted,
            happened=f"{wish.to} is a repository of its own",
            remedy=f"Use it as it is: give it as the repository, dbkeeper plan --repository {wish.to} …",
        )
    store = open_store(wish, config.cluster, config.state_directory, patience)
    opener: Opener | None = None
    try:
        require_marker(store, wish, config.cluster)
        sheets = read_sheets(store)
        lying = there(store)
        wanted = choose_back(sheets, target or BackTarget())
        loose = {} if wish.sealing else unlisted(sheets, lying)
        result = _result(wanted, loose, directory)
        _room(wanted, directory, attempted)
        if wish.sealing:
            opener = Opener(wish.sealing.tool, identity_file)
        if check:
            return result
        repository = Repository(directory, config.cluster)
        repository.create()
        progress = Progress(f"{config.state_directory}/progress.json", "copy")
        progress.phase("fetch", total=wanted.bytes)
        with locked(repository.lock("back"), "bring back", attempted=attempted):
            with progress.ending():
                done = _Back(store, opener, repository.path, progress.update).run(wanted, loose)
        return {
            **result,
            "executed": bool(done.objects),
            "changed": bool(done.objects),
            "fetched": done.__dict__,
        }
    finally:
        store.close()
        if opener is not None:
            opener.close()


def back_to(moment: str | None, lsn: str | None, latest: bool) -> BackTarget:
    """What was asked for, as texts. Raises what understanding them raises."""
    return BackTarget(
        parse_moment(moment, attempted="understand the target's time") if moment else None,
        parse_lsn(lsn) if lsn else None,
        latest,
    )


def list_copies(config: Described, names: list[str]) -> dict[str, Any]:
    """What the copies hold, by name; what cannot be asked is told with its error."""
    found: dict[str, Any] = {}
    for wish in wished(config, names, "list copies"):
        found[wish.name] = {"to": wish.to, "status": known_status(config, wish.name).to_dict()}
        if wish.kind == DOOR:
            continue
        try:
            found[wish.name].update(_listed(config, wish))
        except KeeperError as error:
            found[wish.name]["error"] = error.to_dict()
    return {"changed": False, "copies": found}


def _listed(config: Described, wish: CopyWish) -> dict[str, Any]:
    store = open_store(wish, config.cluster, config.state_directory)
    try:
        require_marker(store, wish, config.cluster)
        return listing(read_sheets(store))
    finally:
        store.close()


def _result(wanted: Wanted, loose: dict[str, int], directory: str) -> dict[str, Any]:
    objects = sum(len(keys) for _sheet, keys in wanted.groups) + len(loose)
    return {
        "changed": bool(objects),
        "executed": False,
        "directory": directory,
        "plan": {"objects": objects, "bytes": wanted.bytes, "backups": list(wanted.backups)},
        "fetched": {},
    }


def _room(wanted: Wanted, directory: str, attempted: str) -> None:
    place = directory
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize
    have = sum(
        kept.plain_bytes
        for sheet, keys in wanted.groups
        for key in keys
        if os.path.exists(f"{directory}/{key}")
        for kept in (sheet.objects[key],)
    )
    if wanted.bytes - have > free:
        raise Refused(
            "copy-no-room",
            attempted=attempted,
            happened=f"{wanted.bytes} bytes are needed, and {place} has {free} free",
            remedy="Choose a directory with more space, or bring back only what a target needs: --target-time …",
            details={"needed_bytes": wanted.bytes, "free_bytes": free},
        )


class _Back:
    def __init__(self, store: Store, opener: Opener | None, root: str, tell: Tell) -> None:
        self._store = store
        self._opener = opener
        self._root = root
        self._tell = tell
        self.done = Fetched()

    def run(self, wanted: Wanted, loose: dict[str, int]) -> Fetched:
        try:
            for sheet, keys in wanted.groups:
                self._group(sheet, keys)
            for key in sorted(loose):
                self._unlisted(key)
        except OSError as error:
            raise write_failure(error, attempted=f"bring back into {self._root}") from error
        return self.done

    def _group(self, sheet: Sheet, keys: tuple[str, ...]) -> None:
        whole = sheet.kind in (BASE, DUMP)
        staged = None
        if whole and not os.path.isdir(f"{self._root}/{sheet.group}"):
            parent, _slash, name = sheet.group.rpartition("/")
            staged = f"{parent}/{COPYING}{name}"
        # What makes it count comes last.
        for key in sorted(keys, key=lambda one: (one.endswith(_ENTRIES), one)):
            place = key if staged is None else f"{staged}{key[len(sheet.group) :]}"
            self._object(key, place, sheet.objects[key])
        if staged is not None:
            os.rename(f"{self._root}/{staged}", f"{self._root}/{sheet.group}")
            fsync_directory(posixpath.dirname(f"{self._root}/{sheet.group}"))
        if sheet.kind == BASE:
            self.done.backups.append(str(sheet.facts["label"]))

    def _object(self, key: str, place: str, kept: Kept) -> None:
        path = f"{self._root}/{place}"
        if os.path.lexists(path):
            if digest(path) == kept.plain_digest:
                self.done.present += 1
                return
            raise Failed(
                "copy-conflict",
                attempted=f"bring back {key}",
                happened=f"{path} is there with other content; nothing was overwritten",
                remedy="Bring back into an empty directory, or move that file away if it is the damaged one.",
                details={"key": key, "path": path},
            )
        sha = hashlib.sha256()
        self._write(path, self._plain(key, kept, sha))
        if sha.hexdigest() != kept.plain_digest:
            os.unlink(_temporary(path))
            raise _damaged(
                self._store.where, key, "its digest is not the one that was noted when it was sent"
            )
        self._place(path)
        self.done.objects += 1
        self.done.bytes += kept.plain_bytes
        self._tell(self.done.bytes)

    def _plain(self, key: str, kept: Kept, sha: Any) -> Iterator[bytes]:
        stored = hashlib.sha256()
        coming = _hashed(self._store.fetch(kept.name), stored)
        try:
            yield from _hashed(self._opener.opened(coming) if self._opener else coming, sha)
        except KeeperError as error:
            # Damaged, or another key: what lies there tells the two apart.
            if error.code == "copy-sealing-failed" and self._is_damaged(kept):
                raise _damaged(self._store.where, key, "what is stored is not what was sent") from error
            raise

    def _is_damaged(self, kept: Kept) -> bool:
        found = self._store.look(kept.name)
        return found is None or found.digest != kept.digest

    def _unlisted(self, key: str) -> None:
        """What archive-push put there itself: zstd's own checksum tells whether it is whole."""
        path = f"{self._root}/{key}"
        if os.path.lexists(path):
            return
        sha = hashlib.sha256()
        self._write(path, _hashed(self._store.fetch(key), sha))
        if key.endswith(".zst"):
            whole = f"{_temporary(path)}.zst"
            os.rename(_temporary(path), whole)
            try:
                plain_digest(whole)
            except Damaged as error:
                os.unlink(whole)
                raise _damaged(self._store.where, key, str(error)) from error
            os.rename(whole, _temporary(path))
        self._place(path)
        self.done.objects += 1
        self.done.unlisted += 1

    def _write(self, path: str, blocks: Iterator[bytes]) -> None:
        make_directory(os.path.dirname(path))
        with open(_temporary(path), "wb") as handle:
            os.fchmod(handle.fileno(), 0o640)
            for block in blocks:
                handle.write(block)
            handle.flush()
            os.fsync(handle.fileno())

    def _place(self, path: str) -> None:
        os.rename(_temporary(path), path)
        fsync_directory(os.path.dirname(path))


def _temporary(path: str) -> str:
    directory, name = os.path.split(path)
    return f"{directory}/{COPYING}{name}"


def _hashed(blocks: Iterator[bytes], sha: Any) -> Iterator[bytes]:
    for block in blocks:
        sha.update(block)
        yield block


def _damaged(where: str, key: str, words: str) -> KeeperError:
    return Failed(
        "copy-object-damaged",
        attempted=f"bring back {key} from {where}",
        happened=words,
        remedy="Bring back from another copy. While the repository still has it, 'dbkeeper copy --check-all' finds "
        "what is damaged there and sends it again.",
        details={"key": key},
    )
