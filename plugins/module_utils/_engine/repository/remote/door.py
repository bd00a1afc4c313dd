# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The door of a repository: what another host may do to it, and nothing else. The forced command of an ssh key.

It reads requests from standard input and answers on standard output, one after the other (a client may send the next
before it has the answer). There is no shell, and no request names a path: paths are made here from names that
were checked. What is finished is never changed: there are no words for it.

A refused request is logged and answered. After one that was to bring pieces of a file, and after anything that is no
request at all, the conversation is over.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from ...core.errors import Failed, KeeperError, Refused
from ...core.locks import owner_alive
from ..compressor import write_failure
from ..layout import Repository
from ..leftovers import leftovers
from ..source import NativeWalSource
from . import names, papers
from .doorlog import DoorLog
from .dumps import DumpIntake, list_dumps, stored_file
from .frames import DATA, DATA_BYTES, END, VERSION, Broken, Pipes
from .intake import take_wal
from .shelves import Intake

READ = "read"
APPEND = "append"
ACCESS = (APPEND, READ)
#: How long nobody need ask anything, and how long a client may be silent in the middle of something.
IDLE_SECONDS = 3600.0
STALL_SECONDS = 300.0
_HELLO_SECONDS = 30.0
_ALLOWED_TO_READ = frozenset(
    (
        "list",
        "document",
        "alive",
        "wal-systems",
        "wal-list",
        "wal-has",
        "wal-get",
        "conflicts",
        "leftovers",
        "backup-files",
    )
    + (
        "backup-get",
        "dump-list",
        "dump-get",
        "space",
        "lease-take",
        "lease-release",
        "evidence-put",
        "timeline-take",
        "bye",
    )
)
_WRITES = ("lease-take", "lease-release", "evidence-put", "timeline-take")
_BRINGS_PIECES = frozenset(("wal-put", "backup-put", "dump-put", "dump-finish"))


class Door:
    """One conversation."""

    def __init__(
        self,
        repository: Repository,
        access: str,
        who: str,
        pipes: Pipes,
        log: DoorLog,
        admitted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._repository = repository
        self._admitted = admitted
        self._access = access
        self._who = who
        self._pipes = pipes
        self._log = log
        self._intake = Intake(repository, who)
        self._dumps = DumpIntake(repository, who)
        self._verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
            "list": self._list,
            "document": self._document,
            "alive": lambda request: {"alive": owner_alive(names.mapping(request, "owner"))},
            "space": self._space,
            "conflicts": lambda request: {"paths": repository.conflicts(names.system(request))},
            "leftovers": self._leftovers,
            "wal-systems": lambda request: {"ids": [str(one) for one in repository.system_ids()]},
            "wal-list": self._wal_list,
            "wal-has": self._wal_has,
            "wal-get": self._wal_get,
            "wal-put": lambda request: take_wal(repository, request, pipes),
            "backup-files": self._backup_files,
            "backup-get": self._backup_get,
            "backup-begin": self._intake.begin,
            "backup-put": lambda request: self._intake.put(request, pipes),
            "backup-finish": self._intake.finish,
            "backup-fail": self._intake.give_up,
            "dump-list": lambda request: list_dumps(repository, pipes),
            "dump-get": self._dump_get,
            "dump-begin": self._dumps.begin,
            "dump-put": lambda request: self._dumps.put(request, pipes),
            "dump-finish": lambda request: self._dumps.finish(request, pipes),
            "dump-fail": self._dumps.give_up,
            "lease-take": lambda request: papers.take_lease(repository, request, who),
            "lease-release": lambda request: papers.release_lease(repository, request, who),
            "timeline-take": lambda request: papers.take_timeline(repository, request),
            "evidence-put": lambda request: papers.put_evidence(repository, request),
        }

    def serve(self) -> bool:
        """Until the client has said all it wants; False when it went or was sent away before."""
        try:
            if not self._greet():
                return False
            while True:
                request = self._pipes.read_word(IDLE_SECONDS)
                if request is None or request.get("verb") == "bye":
                    return True
                if not self._may(request) or not self._answer(request):
                    return False
        except (Broken, OSError) as error:
            self._log.note("broken", bad=True, why=str(error), noise=self._noise())
            return False
        finally:
            self._intake.close()
            self._dumps.close()

    def _noise(self) -> str | None:
        return self._pipes.noise[:40].decode("latin-1") or None

    def _may(self, request: dict[str, Any]) -> bool:
        """Whether the key is still let in as it was when the connection was made."""
        if self._admitted():
            return True
        verb = request.get("verb", "hello")
        self._refuse(
            Refused(
                "door-closed",
                attempted=f"ask the door of a repository for {names.shown(verb)}",
                happened="the line of authorized_keys that opened this connection is gone, or says something else now",
                remedy="Run it again: a new connection has what the key may do now. If that is refused, the key was "
                "taken back; the backup role (or keeper_door) lets the host in.",
            ),
            verb,
        )
        return False

    def _greet(self) -> bool:
        hello = self._pipes.read_word(_HELLO_SECONDS)
        if hello is None or not self._may(hello):
            return False
        version = hello.get("door")
        if version != VERSION:
            self._refuse(
                Refused(
                    "door-version",
                    attempted="speak to the door of a repository",
                    happened=f"this door speaks version {VERSION}, the client {names.shown(version)}",
                    remedy="Install the same dbkeeper on both hosts: the backup role does.",
                ),
                "hello",
            )
            return False
        if hello.get("cluster") != self._repository.cluster:
            happened = (
                f"this door is of cluster {self._repository.cluster}, not {names.shown(hello.get('cluster'))}"
            )
            self._refuse(names.refused(happened), "hello")
            return False
        try:
            self._repository.require("open the door of a repository")
        except KeeperError as error:
            self._refuse(error, "hello")
            return False
        self._log.note("open")
        here = {"door": VERSION, "access": self._access, "path": self._repository.path, "name": self._who}
        self._pipes.say({"ok": True, **here})
        return True

    def _answer(self, request: dict[str, Any]) -> bool:
        """Whether the conversation goes on."""
        verb = request.get("verb")
        try:
            action = self._verbs.get(verb) if isinstance(verb, str) else None
            if action is None:
                raise names.refused(f"there is no verb {names.shown(verb)}")
            if self._access != APPEND and verb not in _ALLOWED_TO_READ:
                raise names.refused(f"this key may only read, not {verb}")
            answer = action(request)
            if answer is not None:
                self._pipes.say({"ok": True, **answer})
            if verb not in _ALLOWED_TO_READ or verb in _WRITES:
                told = ("name", "label", "id", "system_id")
                self._log.note(str(verb), **{key: request[key] for key in told if key in request})
            return True
        except Broken:
            raise
        except Exception as error:
            # Whatever it is that a client has found: told and written down like the rest, and no traceback for him.
            self._refuse(
                _told(error, str(verb)), verb, **{key: request.get(key) for key in ("name", "label", "id")}
            )
            return verb not in _BRINGS_PIECES and verb in self._verbs

    def _refuse(self, error: KeeperError, verb: object, **values: object) -> None:
        self._log.note("refused", bad=True, verb=verb, code=error.code, why=error.happened, **values)
        self._pipes.say({"ok": False, "error": error.to_dict()})

    # -- reading ---------------------------------------------------------------------------------------

    def _list(self, request: dict[str, Any]) -> None:
        """All documents of a kind: an answer with their names, and one piece for each."""
        kind = names.text(request, "kind", names.KIND)
        found = self._repository.documents(kind)
        known = [
            (name, item) for name, item in found.items() if isinstance(item, bytes) and len(item) < DATA_BYTES
        ]
        broken = {name: str(item) for name, item in found.items() if isinstance(item, OSError)}
        self._pipes.say({"ok": True, "names": [name for name, _dummy in known], "broken": broken})
        for _dummy, item in known:
            self._pipes.write(DATA, item)
        self._pipes.say({}, END)

    def _leftovers(self, request: dict[str, Any]) -> None:
        """A line of JSON for each file that nobody uses."""
        system_id = names.system(request) if "system_id" in request else None
        found = leftovers(self._repository, system_id, time.time()) or []
        self._pipes.say({"ok": True, "files": len(found)})
        for one in found:
            self._pipes.write(DATA, json.dumps(one).encode() + b"\n")
        self._pipes.say({}, END)

    def _document(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = names.text(request, "kind", names.KIND)
        name = names.text(request, "name", names.IDENTITY)
        try:
            return {"text": self._repository.document(kind, name).decode()}
        except FileNotFoundError:
            there = kind == "base" and os.path.isdir(self._repository.backup(name))
            return {"text": None, "directory": there}
        except ValueError as error:
            raise Failed(
                "file-damaged",
                attempted=f"read {kind} {name}",
                happened="it is not text",
                remedy="Bring the file back from a copy, or move it aside.",
            ) from error

    def _space(self, request: dict[str, Any]) -> dict[str, Any]:
        writable = self._access == APPEND and self._repository.writable()
        return {**self._repository.space(), "writable": writable}

    def _wal_list(self, request: dict[str, Any]) -> None:
        source = NativeWalSource(self._repository, names.system(request))
        found = list(source.list_files())
        self._pipes.say({"ok": True, "files": len(found)})
        lines: list[str] = []
        for stored in found:
            lines.append(f"{stored.name}\t{stored.stored_bytes}\t{stored.signature}\t{stored.location}\n")
            if len(lines) >= 2000:
                self._pipes.write(DATA, "".join(lines).encode())
                lines = []
        self._pipes.write(DATA, "".join(lines).encode())
        self._pipes.say({}, END)

    def _wal_has(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = request.get("names")
        if not isinstance(asked, list) or len(asked) > 20000:
            raise names.refused("names is not a list of at most 20000")
        checked = [names.text({"name": name}, "name", names.WAL) for name in asked]
        return {"names": sorted(self._repository.has_wal(names.system(request), checked))}

    def _wal_get(self, request: dict[str, Any]) -> None:
        name = names.text(request, "name", names.WAL)
        source = NativeWalSource(self._repository, names.system(request))
        paths = source.paths(name)
        form = names.number(request, "form", 8) if "form" in request else 0
        if form >= len(paths):
            self._repository.require(f"read {name}")
            self._pipes.say({"ok": True, "forms": len(paths)})
            self._pipes.say({}, END)
            return
        self._send(
            paths[form], {"forms": len(paths), "path": paths[form], "packed": paths[form].endswith(".zst")}
        )

    def _backup_files(self, request: dict[str, Any]) -> dict[str, Any]:
        label = names.text(request, "label", names.LABEL)
        return {"files": self._repository.stored_sizes(label)}

    def _backup_get(self, request: dict[str, Any]) -> None:
        label = names.text(request, "label", names.LABEL)
        name = names.text(request, "name", names.PART)
        offset = names.number(request, "offset", 1 << 62) if "offset" in request else 0
        self._send(f"{self._repository.backup(label)}/{name}", {}, offset)

    def _dump_get(self, request: dict[str, Any]) -> None:
        offset = names.number(request, "offset", 1 << 62) if "offset" in request else 0
        self._send(stored_file(self._repository, request), {}, offset)

    def _send(self, path: str, facts: dict[str, Any], offset: int = 0) -> None:
        """An answer, the pieces of a file from ``offset`` on, and how many bytes they were."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.lseek(handle, offset, os.SEEK_SET)
            self._pipes.say({"ok": True, "bytes": os.fstat(handle).st_size - offset, **facts})
            sent, fault = 0, None
            while True:
                try:
                    piece = os.read(handle, 1 << 18)
                except OSError as error:
                    fault = error.strerror
                    break
                if not piece:
                    break
                self._pipes.write(DATA, piece)
                sent += len(piece)
            self._pipes.say({"bytes": sent, "fault": fault}, END)
        finally:
            os.close(handle)


def _told(error: Exception, verb: str) -> KeeperError:
    """What the client hears."""
    if isinstance(error, KeeperError):
        return error
    if not isinstance(error, OSError):
        return names.refused(f"{type(error).__name__} in {names.shown(verb)}")
    if verb in _WRITES:
        return write_failure(error, attempted="write into the repository")
    return Failed(
        "repository-unreadable",
        attempted=f"answer {verb} at the door of a repository",
        happened=f"{error.filename or 'a file'}: {error.strerror}",
        remedy="Give the repository's owner access to it, or mend its mount.",
        details={"errno": error.errno, "missing": isinstance(error, FileNotFoundError)},
    )
