# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Taking the keys of a description strictly: what is wrong is named, what is left over is unknown."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, Callable

from ..core.errors import Refused

_URL = re.compile(r"ssh://[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9_][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.-]+)+")


def read_description(path: str, *, of: str, missing: Callable[[], str], unreadable: str, damaged: str) -> Any:
    """The JSON of a description; the last three are remedies (the first of them is looked for only when it is needed).

    Raises :class:`Refused`: ``config-missing``, ``config-unreadable``, ``file-damaged`` (no JSON).
    """

    def refused(code: str, happened: str, remedy: str) -> Refused:
        return Refused(
            code, attempted=f"read the description of {of}, {path}", happened=happened, remedy=remedy
        )

    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError as error:
        raise refused("config-missing", "there is no such file", missing()) from error
    except OSError as error:
        raise refused("config-unreadable", str(error.strerror), unreadable) from error
    except ValueError as error:
        raise refused("file-damaged", f"it is not JSON: {error}", damaged) from error


class Reader:
    """Takes keys out of an object one by one; what is left over at the end is unknown."""

    def __init__(self, data: dict[str, Any], source: str, prefix: str = "") -> None:
        self._data = data
        self._source = source
        self._prefix = prefix

    def _take(self, key: str, default: Any) -> Any:
        value = self._data.pop(key, None)
        if value is not None:
            return value
        if default is None:
            raise invalid(self._source, f"{self._prefix}{key} is missing")
        return default

    def _wrong(self, key: str, value: Any, wanted: str) -> Refused:
        return invalid(self._source, f"{self._prefix}{key} is {value!r}; it must be {wanted}")

    def text(
        self, key: str, *, pattern: re.Pattern[str] = re.compile(r".+"), default: str | None = None
    ) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._wrong(key, value, f"a text like {pattern.pattern}")
        return value

    def path(self, key: str, *, default: str | None = None) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or not os.path.isabs(value) or os.path.normpath(value) == "/":
            raise self._wrong(key, value, "an absolute path")
        return os.path.normpath(value)

    def place(self, key: str, *, default: str | None = None) -> str:
        value = self._take(key, default)
        if isinstance(value, str) and _URL.fullmatch(value):
            return value
        self._data[key] = value
        return self.path(key)

    def number(self, key: str, least: int, most: int | None = None, *, default: int | None = None) -> int:
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least or (most and value > most):
            raise self._wrong(key, value, f"a whole number from {least}" + (f" to {most}" if most else ""))
        return value

    def choice(self, key: str, choices: tuple[str, ...], *, default: str | None = None) -> str:
        value = self._take(key, default)
        if value not in choices:
            raise self._wrong(key, value, f"one of {', '.join(choices)}")
        return str(value)

    def optional(self, reader: Callable[[str], Any], key: str) -> Any:
        if self._data.get(key) is None:
            self._data.pop(key, None)
            return None
        return reader(key)

    def finish(self) -> None:
        if self._data:
            names = ", ".join(f"{self._prefix}{key}" for key in sorted(self._data))
            raise invalid(self._source, f"unknown: {names}")


def as_object(value: Any, source: str, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise invalid(source, f"{name} is not an object")
    return dict(value)


def invalid(source: str, happened: str) -> Refused:
    return Refused(
        "config-malformed",
        attempted=f"read the description of a cluster, {source}",
        happened=happened,
        remedy="Correct it, or run the backup role again, which writes it.",
        details={"source": source},
    )
