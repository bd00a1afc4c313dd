# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The door's side of logical dumps: a dump arrives whole or not at all, and is never changed afterwards.

A client says what is in a dump, and is believed in nothing that decides about other dumps: their order, the time when
it ended, pins and verdicts are the door's own words. There are no words to rename, replace or delete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ...core.clock import utc_now
from ...core.errors import KeeperError, Refused
from ...core.files import fsync_directory, make_directory
from ...core.locks import owner_record
from ..catalog import FAILED, RUNNING, VERIFIED
from ..compressor import write_failure
from ..dumps import (
    DUMP_ENTRY,
    DUMP_INCOMING,
    GLOBALS,
    Dump,
    DumpFile,
    clear_never_begun,
    encode_name,
    entry_texts,
    never_begun,
    read_dump_entry,
    read_shelf,
    remove_dump_data,
    write_dump_entry,
)
from ..layout import Repository
from ..selection import CONTENTS, Selection
from . import names
from .frames import DATA, DATA_BYTES, END, Pipes
from .turn import Turn

#: What a dump consists of (repository/dumps.py, DATA_NAMES); a directory's files are named by pg_dump.
FILE = re.compile(
    r"globals\.sql|dump\.custom|dump\.sql(\.gz|\.lz4|\.zst)?|dump\.directory/[0-9A-Za-z][0-9A-Za-z_.-]{0,79}"
)
_SYNC_EVERY_BYTES = 64 << 20
_MOST_FILES = 1_000_000
_MOST_ENTRY_BYTES = 256 << 20
_LONGEST_TEXT, _MOST_WARNINGS = 10_000, 1000
_FILE_MODE, _SECRET_MODE = 0o640, 0o600


def list_dumps(repository: Repository, pipes: Pipes) -> None:
    """``dump-list``: a line of JSON for each dump, with the text of its entry or why it cannot be read."""
    repository.require("list the dumps")
    found = list(entry_texts(repository))
    pipes.say({"ok": True, "dumps": len(found)})
    for key, text in found:
        line = (
            {"key": key, "fault": str(text)}
            if isinstance(text, OSError)
            else {"key": key, "text": _plain(text)}
        )
        content = json.dumps(line).encode() + b"\n"
        for begin in range(0, len(content), DATA_BYTES):
            pipes.write(DATA, content[begin : begin + DATA_BYTES])
    pipes.say({}, END)


def stored_file(repository: Repository, request: dict[str, Any]) -> str:
    """The path of ``dump-get``: ``database``, ``label``, ``name``. Raises :class:`Refused` ``door-refused``."""
    return f"{_directory(repository, request)}/{names.text(request, 'name', FILE)}"


class DumpIntake:
    """The dump that this door is taking in, if it is."""

    def __init__(self, repository: Repository, who: str) -> None:
        self._repository = repository
        self._who = who
        self._turn = Turn(repository.lock("dump"), "dump")
        self._entry: Dump | None = None
        self._files: dict[str, DumpFile] = {}

    def begin(self, request: dict[str, Any]) -> dict[str, Any]:
        """``dump-begin``: ``database``, ``label``, ``entry`` (status ``running``, without rows and files).

        Raises :class:`Refused` ``busy``, ``dump-label-taken``, ``door-refused``; :class:`Failed` as writing does.
        """
        entry = _entry(request, names.mapping(request, "entry"))
        attempted = f"take in {entry.key}"
        if entry.status != RUNNING or entry.files or entry.rows:
            raise names.refused(
                "a dump that begins is running, and has neither files nor rows", attempted=attempted
            )
        self._turn.take(attempted)
        self._may_be_begun(entry, attempted)
        directory = entry.directory(self._repository)
        numbers = [one.sequence for one in read_shelf(self._repository).of(entry.database)]
        owner = {**owner_record(f"dump {entry.key}"), "door": self._who, "client": entry.owner}
        entry = entry.changed(owner=owner, sequence=max(numbers, default=0) + 1, pinned=False, unsound=None)
        with _writing(attempted):
            clear_never_begun(self._repository)
            remove_dump_data(directory)
            write_dump_entry(self._repository, entry)
            make_directory(f"{directory}/{DUMP_INCOMING}")
        self._entry, self._files = entry, {}
        return {"sequence": entry.sequence}

    def put(self, request: dict[str, Any], pipes: Pipes) -> dict[str, Any]:
        """``dump-put``: ``name``; the end of the pieces says ``bytes`` and ``digest``."""
        entry = self._ours(request)
        name = names.text(request, "name", FILE)
        attempted = f"take in {name} of {entry.key}"
        if name in self._files or len(self._files) >= _MOST_FILES:
            raise names.refused(f"{name} has been sent already, or they are too many", attempted=attempted)
        path = f"{entry.directory(self._repository)}/{DUMP_INCOMING}/{name}"
        mode = _SECRET_MODE if name == GLOBALS else _FILE_MODE
        sha, length, durable = hashlib.sha256(), 0, 0
        with _writing(attempted):
            make_directory(os.path.dirname(path))
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            try:
                while isinstance(piece := pipes.read_piece(), bytes):
                    sha.update(piece)
                    length += len(piece)
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(handle, view) :]
                    if length - durable >= _SYNC_EVERY_BYTES:
                        os.fdatasync(handle)
                        durable = length
                os.fsync(handle)
            finally:
                os.close(handle)
        if (piece.get("bytes"), piece.get("digest")) != (length, sha.hexdigest()):
            os.unlink(path)
            raise names.refused(f"{name} arrived with another checksum than was sent", attempted=attempted)
        self._files[name] = DumpFile(name, length, sha.hexdigest())
        return {"bytes": length, "digest": sha.hexdigest()}

    def finish(self, request: dict[str, Any], pipes: Pipes) -> dict[str, Any]:
        """``dump-finish``: the pieces are the entry's text: ``verified``, with exactly the files that arrived."""
        begun = self._ours(request)
        attempted = f"finish {begun.key}"
        text = b""
        while isinstance(piece := pipes.read_piece(), bytes):
            text += piece
            if len(text) > _MOST_ENTRY_BYTES:
                raise names.refused(f"an entry of more than {_MOST_ENTRY_BYTES} bytes", attempted=attempted)
        entry = _entry(request, _decoded(text, attempted))
        same = ("database", "label", "series", "format", "selection", "system_id", "major", "globals")
        if entry.status != VERIFIED or any(getattr(entry, name) != getattr(begun, name) for name in same):
            raise names.refused("it is not the dump that was begun", attempted=attempted)
        whole = {file.name: file for file in entry.files} == self._files
        data = {name.partition("/")[0] for name in self._files} - {GLOBALS}
        if not whole or data != {entry.data} or (GLOBALS in self._files) != entry.globals:
            raise names.refused("its files are not those that arrived", attempted=attempted)
        directory = entry.directory(self._repository)
        incoming = f"{directory}/{DUMP_INCOMING}"
        with _writing(attempted):
            if os.path.isdir(f"{incoming}/{entry.data}"):
                fsync_directory(f"{incoming}/{entry.data}")
            for name in sorted(os.listdir(incoming)):
                os.rename(f"{incoming}/{name}", f"{directory}/{name}")
            os.rmdir(incoming)
            fsync_directory(directory)
            fsync_directory(os.path.dirname(directory))
            entry = entry.changed(owner=begun.owner, sequence=begun.sequence, started_at=begun.started_at)
            entry = entry.changed(pinned=False, unsound=None, stopped_at=self._ended(entry))
            write_dump_entry(
                self._repository, entry.changed(stored_bytes=sum(one.stored_bytes for one in entry.files))
            )
        self._release()
        return {}

    def give_up(self, request: dict[str, Any]) -> dict[str, Any]:
        """``dump-fail``: ``why``: the data of one that is not finished goes, its entry says failed.

        Raises :class:`Refused` ``busy`` when one is taken through another door, ``dump-label-taken`` when finished.
        """
        directory = _directory(self._repository, request)
        attempted = f"give up {directory.rpartition('/dump/')[2]}"
        self._turn.take(attempted)
        if not os.path.lexists(f"{directory}/{DUMP_ENTRY}"):
            raise names.refused("there is no such dump", attempted=attempted)
        known = read_dump_entry(self._repository, str(request["database"]), str(request["label"]))
        if known.status not in (RUNNING, FAILED):
            raise _taken(known, attempted)
        self._fail(known, str(request.get("why"))[:2000])
        if self._entry is None or self._entry.key == known.key:
            self._release()
        return {}

    def close(self) -> None:
        """The client is gone: what it had not finished is nothing."""
        if self._entry is not None:
            with contextlib.suppress(KeeperError, OSError):
                self._fail(self._entry, "the connection ended before the dump did; its data was removed")
        self._release()

    def _fail(self, entry: Dump, why: str) -> None:
        with _writing(f"give up {entry.key}"):
            remove_dump_data(entry.directory(self._repository))
            if entry.status == RUNNING:
                write_dump_entry(
                    self._repository, entry.changed(status=FAILED, failure=why, files=(), rows={})
                )

    def _may_be_begun(self, entry: Dump, attempted: str) -> None:
        """Whether nothing that is worth anything has the name already, readable or not."""
        directory = entry.directory(self._repository)
        if not os.path.isdir(directory) or directory in never_begun(self._repository):
            return
        # One whose entry is lost is damaged, and its data is not ours to remove.
        known = read_dump_entry(self._repository, entry.database, entry.label)
        if known.status not in (RUNNING, FAILED):
            raise _taken(known, attempted)

    def _ended(self, entry: Dump) -> datetime:
        """As the client says, unless that would put it among older ones, or into the future: then it is now.

        A dump that is dated back would take the place of a good one in its generations.
        """
        older = read_shelf(self._repository).of(entry.database)
        newest = max((one.ended_at for one in older if one.status not in (RUNNING, FAILED)), default=None)
        said, now = entry.stopped_at, utc_now()
        return said if said and said <= now and (newest is None or said >= newest) else now

    def _ours(self, request: dict[str, Any]) -> Dump:
        directory = _directory(self._repository, request)
        if self._entry is None or self._entry.directory(self._repository) != directory:
            raise names.refused("this dump was not begun here")
        return self._entry

    def _release(self) -> None:
        self._entry, self._files = None, {}
        self._turn.end()


def _directory(repository: Repository, request: dict[str, Any]) -> str:
    label = names.text(request, "label", names.LABEL)
    return f"{repository.path}/dump/{_encoded(request)}/{label}"


def _encoded(request: dict[str, Any]) -> str:
    database = request.get("database")
    try:
        if isinstance(database, str):
            return encode_name(database)
    except (KeeperError, UnicodeEncodeError):
        # Said below, as of all other names.
        database = str(database)
    raise names.refused(f"database is {names.shown(database)}, which is not allowed")


def _entry(request: dict[str, Any], value: dict[str, Any]) -> Dump:
    """What the client says of its dump. Raises :class:`Refused` ``door-refused``."""
    key = f"dump/{_encoded(request)}/{names.text(request, 'label', names.LABEL)}"
    attempted = f"take in {key}"
    try:
        entry = Dump.from_dict(value, key=key)
    except (KeeperError, OverflowError) as error:
        raise names.refused(
            f"its entry is no dump's: {names.shown(str(error))}", attempted=attempted
        ) from error
    wrong = [name for name, good in _GOOD.items() if not good(getattr(entry, name))]
    if wrong:
        raise names.refused(f"{wrong[0]} in its entry is nothing that a dump has", attempted=attempted)
    return entry


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def _rows(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, dict)
        and set(item) <= {"rows", "digest"}
        and _number(item.get("rows"))
        and (item.get("digest") is None or _short(item["digest"]))
        for item in value.values()
    )


def _times(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in value.values()
    )


def _patterns(value: Selection) -> bool:
    lists = (value.schemas, value.exclude_schemas, value.tables, value.exclude_tables)
    return value.content in CONTENTS and all(
        isinstance(one, tuple) and all(map(_short, one)) for one in lists
    )


# Who lists, expires and checks dumps on the repository's host reads these, and must not stumble over a stranger's.
_GOOD: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("jobs", "system_id", "major", "database_bytes", "contents", "sequence"), _number),
    **dict.fromkeys(("series", "compression", "version", "encoding", "data"), _short),
    "lsn": lambda value: value is None or _short(value),
    "globals": lambda value: isinstance(value, bool),
    "rows": _rows,
    "seconds": _times,
    "selection": _patterns,
    "warnings": lambda value: len(value) <= _MOST_WARNINGS and all(map(_short, value)),
    "owner": lambda value: isinstance(value, dict),
    "failure": lambda value: value is None,
    "files": lambda value: all(_number(one.stored_bytes) for one in value),
}


def _decoded(text: bytes, attempted: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise names.refused("its entry is no JSON", attempted=attempted) from error
    if not isinstance(value, dict):
        raise names.refused("its entry is no object", attempted=attempted)
    return value


def _plain(text: bytes) -> str:
    return text.decode("utf-8", "replace")


@contextlib.contextmanager
def _writing(attempted: str) -> Any:
    try:
        yield
    except OSError as error:
        failure = write_failure(error, attempted=attempted)
        if failure.code == "repository-full":
            failure.remedy = (
                "Make space on the file system of the repository, or expire old dumps, then run the same command "
                "again; what had arrived of this one is removed."
            )
        raise failure from error


def _taken(known: Dump, attempted: str) -> KeeperError:
    return Refused(
        "dump-label-taken",
        attempted=attempted,
        happened=f"{known.key} is {known.status}; what is finished is not changed through the door",
        remedy="Choose another label, or leave it out: it is then made from the time.",
    )
