# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Carries a plan out for one copy: sends, looks, writes the sheets. Decides nothing but to leave out what failed.

What goes wrong with one object (its source is damaged, what is stored is not what was sent) ends its group, and the
others go on; what goes wrong with the place ends the run. Everything that arrived is on a sheet or found by looking.
What rots in the repository never gets over what was copied before (fault F05).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import Failed, KeeperError
from ..core.files import digest
from ..repository.compression import Damaged, plain_digest
from .objects import BASE, DUMP, WAL, Group, Item
from .plan import ADOPT, COMPARE, CONFLICT, LOOK, CopyPlan, Deed, GroupPlan
from .sealing import Outgoing, Sealer
from .sheets import PARTIAL, WHOLE, Kept, Sheet
from .stores import COPYING, Store, Stored, Throttle

#: A sheet is written so often at least; what a killed run sent after the last time is looked at again.
_SHEET_OBJECTS, _SHEET_BYTES = 64, 64 << 20
#: Errors of one object; the others are tried all the same.
_OF_ONE_OBJECT = ("copy-digest-wrong", "copy-source-damaged", "copy-conflict", "copy-sealing-failed")
#: What is told when the repository's own expiry was faster.
_GONE = "gone"

Watch = Callable[[str], None]


@dataclass
class Sent:
    """What a run did. ``bytes`` of the objects, ``wire_bytes`` really sent for them: fewer where an earlier run
    had sent a part of one. ``checked``: how often which means made sure of an object."""

    objects: int = 0
    bytes: int = 0
    wire_bytes: int = 0
    adopted: int = 0
    compared: int = 0
    groups: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.__dict__, "failures": list(self.failures)}


class Execution:
    """One run for one copy. ``watch`` is told each deed before it is done (tests)."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer | None,
        throttle: Throttle,
        *,
        progress: Callable[[int], None],
        watch: Watch,
    ) -> None:
        self.done = Sent()
        self.sheets: dict[str, Sheet] = {}
        self._store = store
        self._sealer = sealer
        self._suffix = sealer.suffix if sealer else ""
        self._throttle = throttle
        self._progress = progress
        self._watch = watch

    def run(self, plan: CopyPlan) -> Sent:
        """All groups. Raises what goes wrong with the place."""
        for one in plan.groups:
            try:
                self._group(one)
            except KeeperError as error:
                if error.code == _GONE:
                    self.done.gone.append(one.group.name)
                    continue
                if error.code not in _OF_ONE_OBJECT:
                    raise
                self.done.failures.append(error.to_dict())
            finally:
                self.done.wire_bytes = self._throttle.spent_bytes
        return self.done

    def _group(self, one: GroupPlan) -> None:
        whole = one.group.kind in (BASE, DUMP)
        staged = _staged(one.group) if whole and one.fresh and self._store.renames else None
        sheet = one.sheet
        unwritten = unwritten_bytes = 0
        deeds = list(one.deeds)
        failures: list[KeeperError] = []
        if staged is not None:
            # What an earlier run had sent lies under the hidden name, and was not seen as being there.
            deeds, sheet = self._resumed(one, staged)
        try:
            for deed in deeds:
                try:
                    kept = self._deed(deed, sheet, staged, one.group.name)
                except KeeperError as error:
                    if whole or error.code not in _OF_ONE_OBJECT:
                        raise
                    failures.append(error)
                    continue
                sheet = sheet.having(deed.item.key, kept)
                unwritten += 1
                unwritten_bytes += kept.bytes
                if unwritten >= _SHEET_OBJECTS or (whole and unwritten_bytes >= _SHEET_BYTES):
                    self._write(sheet)
                    unwritten = unwritten_bytes = 0
        except BaseException:
            if unwritten:
                self._keep_what_can(sheet)
            raise
        if staged is not None:
            self._watch(f"place {one.group.name}")
            self._store.clear(one.group.name)
            self._store.move(staged, one.group.name)
        self._write(Sheet(sheet.group, sheet.kind, WHOLE, one.group.facts or sheet.facts, sheet.objects))
        if one.fresh:
            self.done.groups.append(one.group.name)
        self.done.failures += [error.to_dict() for error in failures]

    def _resumed(self, one: GroupPlan, staged: str) -> tuple[list[Deed], Sheet]:
        prefix = f"{staged}/"
        there = {name[len(prefix) :]: size for name, size in self._store.names(staged).items()}
        objects, deeds = {}, []
        for item in one.group.items:
            kept = one.sheet.objects.get(item.key)
            name = item.key[len(one.group.name) + 1 :] + self._suffix
            same = kept is not None and (item.digest or kept.plain_digest) == kept.plain_digest
            if kept is not None and same and there.get(name) == kept.bytes and not item.mutable:
                objects[item.key] = kept
            else:
                deeds.append(Deed(item, "send"))
        return deeds, Sheet(one.group.name, one.group.kind, PARTIAL, one.group.facts, objects)

    def _write(self, sheet: Sheet) -> None:
        self._watch(f"sheet {sheet.group}")
        self._store.write(sheet.key, sheet.to_bytes())
        self.sheets[sheet.group] = sheet

    def _keep_what_can(self, sheet: Sheet) -> None:
        """On the way out: what arrived is noted where the place still takes it."""
        try:
            self._store.write(sheet.key, sheet.to_bytes())
        except (KeeperError, OSError):
            # Found by looking, next time.
            return

    def _deed(self, deed: Deed, sheet: Sheet, staged: str | None, group: str) -> Kept:
        item = deed.item
        self._watch(f"{deed.what} {item.key}")
        name = f"{item.key}{self._suffix}"
        if deed.what == CONFLICT:
            raise self._conflict(item, "other content under the same name was copied before")
        if deed.what == COMPARE:
            kept = self._compare(item, sheet)
            if kept is not None:
                return kept
        if deed.what == ADOPT:
            kept = self._adopt(item, sheet)
            if kept is not None:
                return kept
        if deed.what == LOOK:
            kept = sheet.objects[item.key]
            stored = self._store.look(kept.name)
            if stored is not None and stored.digest == kept.digest:
                self.done.adopted += 1
                return kept
            # What lies there has been damaged since, and is sent again.
        place = name if staged is None else f"{staged}{name[len(group) :]}"
        source = Outgoing(item, self._throttle, self._sealer)
        try:
            stored = self._store.put(place, source)
        except KeeperError as error:
            if error.code == "copy-source-damaged" and not os.path.lexists(item.path):
                raise Failed(_GONE, attempted="copy", happened="expired meanwhile", remedy="") from error
            raise
        self.done.objects += 1
        self.done.bytes += stored.bytes
        self.done.checked[stored.checked] = self.done.checked.get(stored.checked, 0) + 1
        self._progress(self.done.bytes)
        return _kept(item, name, stored, source.plain_bytes, source.plain_digest)

    def _compare(self, item: Item, sheet: Sheet) -> Kept | None:
        """The file may have changed since it was copied; None: it has, and the newer one is sent."""
        kept = sheet.objects[item.key]
        self.done.compared += 1
        if digest(item.path) == kept.plain_digest:
            return Kept(**{**kept.__dict__, "signature": item.signature})
        if not item.mutable:
            raise self._conflict(item, "the repository's file is another one than was copied before")
        return None

    def _adopt(self, item: Item, sheet: Sheet) -> Kept | None:
        """What lies there already, looked at; None: it is to be sent."""
        stored = self._store.look(item.key)
        if stored is None:
            return None
        ours = digest(item.path)
        if stored.digest == ours:
            if item.digest not in (None, ours):
                return None
            self.done.adopted += 1
            return _kept(item, item.key, stored, stored.bytes, ours)
        if item.mutable:
            return None
        if item.key in sheet.objects and sheet.objects[item.key].plain_digest == ours:
            # It was right once: what lies there has been damaged since, and is sent again.
            return None
        if item.key.startswith(f"{WAL}/") and self._same_wal(item):
            self.done.adopted += 1
            return _kept(item, item.key, stored, stored.bytes, stored.digest)
        raise self._conflict(item, "other content lies in the copy under the same name")

    def _same_wal(self, item: Item) -> bool:
        """Whether two stored segments hold the same: archive-push packs for each place by itself."""
        suffix = os.path.splitext(item.key)[1]
        descriptor, path = tempfile.mkstemp(prefix="dbkeeper-copy-", suffix=suffix)
        try:
            with os.fdopen(descriptor, "wb") as target:
                for block in self._store.fetch(item.key):
                    target.write(block)
            return plain_digest(path) == plain_digest(item.path)
        except Damaged:
            return False
        finally:
            os.unlink(path)

    def _conflict(self, item: Item, words: str) -> KeeperError:
        return Failed(
            "copy-conflict",
            attempted=f"copy {item.key} to {self._store.where}",
            happened=f"{words}; nothing was overwritten",
            remedy="Find out which of the two is the right one (dbkeeper verify; of WAL: who else writes this "
            f"timeline?). Move the wrong one out of the way, {item.path} or {item.key} in the copy, and run the same "
            "command again.",
            details={"key": item.key},
        )


def _staged(group: Group) -> str:
    directory, _slash, name = group.name.rpartition("/")
    return f"{directory}/{COPYING}{name}"


def _kept(item: Item, name: str, stored: Stored, plain_bytes: int, plain_digest: str) -> Kept:
    return Kept(
        name, stored.bytes, stored.digest, plain_bytes, plain_digest, item.signature, item.modified_at
    )
