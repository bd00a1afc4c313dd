# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Letting a host in at the door of a repository on this one: directory, marker, one line of authorized_keys.

The line names the only command that its key can start. Neither it nor the file that holds it belongs to the
door's user: whoever found a way around the door could still not give himself another one.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
import stat
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from ..core.errors import Refused
from ..core.files import make_directory, write_durable
from ..core.locks import locked
from ..core.privilege import assume, owner_of, started_as_root
from ..repository.layout import Repository

ACCESS = ("append", "read", "none")
_PATIENCE_SECONDS = 60.0
_OWNER_COMMENT = "dbkeeper"
# What needs no quoting, neither by sshd nor by a shell.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./-]*[A-Za-z0-9_-]")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}")
_KEY = re.compile(r"(?:ssh-|ecdsa-sha2-|sk-)[a-z0-9@.-]+ AAAA[A-Za-z0-9+/]+={0,3}(?: .*)?")


@dataclass(frozen=True)
class Admission:
    """Who comes, with which key, to do what.

    ``host`` is its name in the inventory, ``public_key`` the first two words of its .pub file, ``access`` one of
    :data:`ACCESS` (``none`` takes the admission back), ``keys`` the file that the line stands in, as soon as that is
    known.
    """

    root: str
    cluster: str
    host: str
    public_key: str
    access: str
    command: str = "/usr/local/bin/dbkeeper"
    keys: str = ""

    def __post_init__(self) -> None:
        for text, pattern in (
            (self.root, _PLAIN_PATH),
            (self.command, _PLAIN_PATH),
            (self.cluster, _PLAIN_NAME),
            (self.host, _PLAIN_NAME),
            *([(self.keys, _PLAIN_PATH)] if self.keys else []),
        ):
            if not pattern.fullmatch(text):
                raise Refused(
                    "admission-malformed",
                    attempted=f"let {self.host} in at the door of {self.root}",
                    happened=f"{text!r} would have to be quoted in authorized_keys",
                    remedy="Use letters, digits, dots, dashes and underscores only, and absolute paths.",
                )
        if self.public_key and not _KEY.fullmatch(self.public_key):
            raise Refused(
                "admission-malformed",
                attempted=f"let {self.host} in at the door of {self.root}",
                happened=f"{self.public_key[:40]!r} is not a public key",
                remedy="Give the content of the .pub file of the host's key.",
            )

    @property
    def comment(self) -> str:
        """How the line is known again."""
        return f"{_OWNER_COMMENT}:{self.cluster}@{self.host}"

    @property
    def line(self) -> str:
        """The line of authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

        With key and file the door sees that the line is still there: a connection outlives it.
        """
        words = f"{self.command} door --root {self.root} --cluster {self.cluster} --access {self.access}"
        words += f" --name {self.host}"
        key = " ".join(self.public_key.split()[:2])
        words += f" --key {sha256(key.encode()).hexdigest()[:16]} --keys {self.keys}" if self.keys else ""
        return f'restrict,command="{words}" {key} {self.comment}'


def admit(
    admission: Admission,
    *,
    user: str,
    check: bool,
    authorized_keys: str | None = None,
    host_keys: str = "/etc/ssh/ssh_host_*_key.pub",
) -> dict[str, Any]:
    """Make repository and admission as wanted; empty plan when all is there. Other lines stay as they are.

    ``user`` is whom sshd lets in, ``authorized_keys`` where it looks for his keys (None: in his home). Raises
    :class:`Refused` ``user-unknown`` and what :meth:`Repository.create` raises.
    """
    attempted = f"let {admission.host} in at the door of {admission.root}"
    entry = _entry(user, attempted, check)
    keys = authorized_keys or f"{entry.pw_dir if entry else '~' + user}/.ssh/authorized_keys"
    admission = replace(admission, keys=keys if entry or authorized_keys else "")
    repository = Repository(admission.root, admission.cluster)
    wanted = admission.access != "none"
    plan: list[str] = []
    if wanted and not _is_private(admission.root, entry):
        plan.append(f"make directory {admission.root}")
    if wanted and not repository.exists():
        plan.append(f"make repository {repository.path}")
    before = _lines(keys)
    if _with(before, admission) != before or (wanted and not _well_kept(keys)):
        plan.append(f"{'let in' if wanted else 'keep out'} {admission.host}: {keys}")
    if plan and not check:
        make_directory(os.path.dirname(keys), 0o755)
        with locked(f"{keys}.lock", "admission", attempted=attempted, patience=_PATIENCE_SECONDS):
            # Another host may have been let in since.
            text = "".join(f"{line}\n" for line in _with(_lines(keys), admission))
            write_durable(keys, text.encode(), 0o644)
        if wanted:
            make_directory(admission.root, 0o755)
            if entry:
                os.chown(admission.root, entry.pw_uid, entry.pw_gid)
            os.chmod(admission.root, 0o700)
            assume(owner_of(admission.root))
            repository.create()
    return {
        "changed": bool(plan),
        "executed": bool(plan) and not check,
        "plan": plan,
        "host_keys": _host_keys(host_keys),
        "diff": {
            "before": "".join(f"{line}\n" for line in before if _is_of(line, admission)),
            "after": f"{admission.line}\n" if wanted else "",
            "before_header": keys,
            "after_header": keys,
        },
    }


def _entry(user: str, attempted: str, check: bool) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        if check:
            return None
        raise Refused(
            "user-unknown",
            attempted=attempted,
            happened=f"there is no operating system user {user}",
            remedy="Make the user first, as the role dbkeeper.ops.backup does, or name the one that there is.",
        ) from error


def _is_private(path: str, entry: pwd.struct_passwd | None) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return stat.S_IMODE(found.st_mode) == 0o700 and entry is not None and found.st_uid == entry.pw_uid


def _well_kept(path: str) -> bool:
    """Nobody but root changes it (where there is root), and sshd may read it as the user."""
    found = os.stat(path)
    return stat.S_IMODE(found.st_mode) == 0o644 and (found.st_uid == 0 or not started_as_root())


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read().splitlines()
    except FileNotFoundError:
        return []


def _is_of(line: str, admission: Admission) -> bool:
    """Whether a line lets in the same key, or the same host for the same cluster.

    sshd takes the first line with a key: a second one must not be left to decide what it may do.
    """
    words = line.split()
    same_key = bool(admission.public_key) and admission.public_key.split()[1] in words
    return not line.startswith("#") and (same_key or words[-1:] == [admission.comment])


def _with(lines: list[str], admission: Admission) -> list[str]:
    kept = [line for line in lines if not _is_of(line, admission)]
    if admission.access == "none":
        return kept
    first = next((number for number, line in enumerate(lines) if _is_of(line, admission)), len(lines))
    place = sum(1 for line in lines[:first] if not _is_of(line, admission))
    return [*kept[:place], admission.line, *kept[place:]]


def _host_keys(pattern: str) -> list[str]:
    """Type and key of every host key, as known_hosts wants them."""
    found = []
    for path in sorted(glob.glob(pattern)):
        found += [" ".join(line.split()[:2]) for line in _lines(path) if _KEY.fullmatch(line)]
    return found
