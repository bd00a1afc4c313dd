# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that tells whether a part of a configuration needs no more work."""

from __future__ import annotations

DOCUMENTATION = r"""
name: in_effect
short_description: Whether a server has files and blocks of its configuration already
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Holds what is wanted against what an earlier M(dbkeeper.ops.pg_configuration) on the same host has returned.
  - Where it is true, another call would change nothing, and would have nothing to say.
positional: result, replication_role
options:
  _input:
    description: Files as in O(dbkeeper.ops.pg_configuration#module:files).
    type: list
    elements: dict
    required: true
  result:
    description: The result of that call. One that is missing, was skipped or failed counts as nothing known.
    type: dict
    required: true
  replication_role:
    description: As O(dbkeeper.ops.pg_configuration#module:replication_role). Empty means none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Let the backup role in, where it is not in already
  dbkeeper.ops.pg_configuration:
    instance: "{{ postgresql_location }}"
    files: "{{ files }}"
  when: not files | dbkeeper.ops.in_effect(configured)
"""

RETURN = r"""
_value:
  description: True when all of it is in effect.
  type: bool
  sample: true
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.core.errors import KeeperError
from ..module_utils._engine.settings.parts import NOTHING, all_in_effect
from ..module_utils._engine.settings.request import file_from


def _in_effect(files: list[dict[str, Any]], result: Any, replication_role: str = "") -> bool:
    told = result.get("in_effect", NOTHING) if isinstance(result, dict) else NOTHING
    try:
        return all_in_effect([file_from(entry) for entry in files], told, str(replication_role))
    except KeeperError as error:
        raise AnsibleFilterError(f"{error.attempted}: {error.happened}. {error.remedy}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"in_effect": _in_effect}
