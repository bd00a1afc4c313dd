# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that says which databases get groups."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pg_access_requests
short_description: What the module pg_access is asked for
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Picks the databases that have groups, and adds those of the roles that create objects in them, which are the
    members of the group of administrators.
positional: roles
options:
  _input:
    description: Databases as in C(postgresql_databases) of the role P(dbkeeper.ops.postgresql#role).
    type: list
    elements: dict
    required: true
  roles:
    description: Roles as in C(postgresql_roles).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Give the databases their groups
  dbkeeper.ops.pg_access:
    instance: "{{ postgresql_location }}"
    databases: "{{ postgresql_databases | dbkeeper.ops.pg_access_requests(postgresql_roles) }}"
"""

RETURN = r"""
_value:
  description: The value of the option C(databases) of P(dbkeeper.ops.pg_access#module).
  type: list
  elements: dict
  sample:
    - name: shop
      owner: null
      schemas: [public]
      creators: [deploy]
"""

from typing import Any, Callable

from ..plugin_utils._access import access_requests


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pg_access_requests": access_requests}
