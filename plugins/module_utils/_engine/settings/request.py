# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What somebody wants a cluster's configuration to be."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import Refused

ROLES = ("settings", "hba", "ident")
POLICIES = ("first_install", "when_idle", "allowed")
#: Of a file for which none is given.
MODE = "0640"
_ATTEMPTED = "understand what the configuration should be"
_BLOCK = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class FileRequest:
    """One file of ours: the whole of it, or (``block``) a named block at its top.

    ``role`` says what it is to the server: ``settings``, ``hba`` or ``ident``. Where we write a whole hba or
    ident file, the blocks of others are kept on top.
    """

    role: str
    path: str
    content: str
    block: str | None = None
    mode: int = 0o640


@dataclass(frozen=True)
class ConfigurationRequest:
    """Files, and what may be done to bring them into effect.

    ``restart`` is the policy for settings that take effect at a start only: ``first_install`` never restarts a
    running server, ``when_idle`` does when no client is connected, ``allowed`` does. ``at_least`` holds the
    values of a primary, which a standby must not fall below.
    """

    files: tuple[FileRequest, ...] = ()
    restart: str = "first_install"
    start: bool = True
    at_least: Mapping[str, int] = field(default_factory=dict)
    timeout_seconds: float = 300.0


def request_from(params: Mapping[str, Any]) -> ConfigurationRequest:
    """A request from the options of a module.

    Raises :class:`Refused`: ``path-relative``, ``file-twice``, ``block-malformed``, ``mode-malformed``,
    ``minimum-malformed``.
    """
    files = tuple(file_from(entry) for entry in params.get("files") or [])
    seen: set[tuple[str, str | None]] = set()
    for file in files:
        if (file.path, file.block) in seen:
            raise _wrong("file-twice", f"{file.path} is given twice")
        seen.add((file.path, file.block))
    return ConfigurationRequest(
        files=files,
        restart=params["restart"],
        start=params["start"],
        at_least={name: _number(name, value) for name, value in (params.get("at_least") or {}).items()},
        timeout_seconds=float(params["timeout_seconds"]),
    )


def file_from(entry: Mapping[str, Any]) -> FileRequest:
    """One of the option ``files``. Raises :class:`Refused` as :func:`request_from` does."""
    path, block = str(entry["path"]), entry.get("block")
    if not os.path.isabs(path):
        raise _wrong("path-relative", f"{path} is not an absolute path")
    if block is not None and (not _BLOCK.fullmatch(block) or entry["role"] == "settings"):
        raise _wrong("block-malformed", f"{block!r} cannot be the name of a block in {path}")
    return FileRequest(
        entry["role"], os.path.normpath(path), entry["content"], block, _mode(entry.get("mode", MODE))
    )


def _mode(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise _wrong("mode-malformed", f"{text!r} is no mode of a file")
    return int(text, 8)


def _number(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise _wrong("minimum-malformed", f"at_least.{name} is {value!r}, not a whole number") from error


def _wrong(code: str, happened: str) -> Refused:
    return Refused(
        code,
        attempted=_ATTEMPTED,
        happened=happened,
        remedy="Correct the option files (ansible-doc dbkeeper.ops.pg_configuration describes it).",
    )
