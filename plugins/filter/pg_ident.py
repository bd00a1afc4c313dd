# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that writes maps of users."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pg_ident
short_description: Lines of pg_ident.conf from a list of mappings
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Writes one line for each mapping, in the order of the list, and reads it as the server will.
positional: version
options:
  _input:
    description: Mappings with the keys C(map), C(system_user) and C(role).
    type: list
    elements: dict
    required: true
  version:
    description: Major version of the server.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Show the lines
  ansible.builtin.debug:
    msg: "{{ [{'map': 'ops', 'system_user': 'alice', 'role': 'dba'}] | dbkeeper.ops.pg_ident(17) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: str
  sample: ops alice dba
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.core.errors import KeeperError
from ..plugin_utils._access import ident_lines


def _filter(mappings: Sequence[Mapping[str, Any]], version: int) -> str:
    try:
        return ident_lines(mappings, int(version))
    except KeeperError as error:
        raise AnsibleFilterError(f"{error.attempted}: {error.happened}. {error.remedy}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pg_ident": _filter}
