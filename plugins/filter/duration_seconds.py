# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that reads durations as the host command does."""

from __future__ import annotations

DOCUMENTATION = r"""
name: duration_seconds
short_description: Read a duration such as 14d
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Seconds of a duration such as C(15m), C(36h), C(14d), or nothing where it is empty or C(none).
options:
  _input:
    description: The duration. A number without a unit is seconds.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show how long two weeks are
  ansible.builtin.debug:
    msg: "{{ '14d' | dbkeeper.ops.duration_seconds }}"
"""

RETURN = r"""
_value:
  description: Seconds, or V(none).
  type: int
  sample: 1209600
"""

from typing import Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.core.errors import KeeperError
from ..module_utils._engine.core.sizes import parse_duration


def _filter(text: str | int | None) -> int | None:
    if text is None or str(text).strip().lower() in ("", "none"):
        return None
    try:
        return parse_duration(str(text), attempted=f"read the duration {text}")
    except KeeperError as error:
        raise AnsibleFilterError(f"{error.attempted}: {error.happened}. {error.remedy}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., int | None]]:
        return {"duration_seconds": _filter}
