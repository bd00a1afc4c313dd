# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a configuration was made from, kept in the configuration itself as one comment line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MARK = "# dbkeeper inputs: "


def inputs_line(inputs: Mapping[str, Any]) -> str:
    """The line, without its end."""
    return MARK + json.dumps(inputs, sort_keys=True, ensure_ascii=True)


def read_inputs(text: str) -> dict[str, Any] | None:
    """What the last such line in a file says; None where there is none that can be read."""
    for line in reversed(text.splitlines()):
        if line.startswith(MARK):
            try:
                value = json.loads(line[len(MARK) :])
            except ValueError:
                return None
            return value if isinstance(value, dict) else None
    return None


def inputs_of(path: str) -> dict[str, Any] | None:
    """What a file says; None where it is not there. Raises OSError when it may not be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return read_inputs(handle.read())
    except FileNotFoundError:
        return None
