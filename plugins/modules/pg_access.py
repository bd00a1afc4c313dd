#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives databases their groups of readers, writers and administrators."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_access
short_description: Groups of a database that may read, write or change its structure
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - For a database called C(shop), the group C(shop_readonly) reads everything, C(shop_readwrite) reads and writes,
    C(shop_admin) also creates. Roles get their rights by being members of one of them.
  - Objects that are created later are covered by default privileges of those who create them.
  - Rights that everybody has (to connect, to make temporary tables, to create in the schema) are taken away.
  - All in one connection for each database, with a handful of statements when nothing is missing.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster.instance
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  databases:
    description: The databases.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the database. It has to be there.
        type: str
        required: true
      owner:
        description: Who owns it. If not set, its group of administrators.
        type: str
      schemas:
        description: Schemas that are meant. One that is missing is made.
        type: list
        elements: str
        default: [public]
      creators:
        description: Roles that create objects in it, besides the owner and the group of administrators.
        type: list
        elements: str
        default: []
"""

EXAMPLES = r"""
- name: Give the database its groups
  dbkeeper.ops.pg_access:
    instance: "{{ postgresql_location }}"
    databases:
      - name: shop
"""

RETURN = r"""
plan:
  description: The SQL that was run, or would be run in check mode.
  returned: success
  type: list
  elements: str
  sample: ['GRANT CONNECT ON DATABASE "shop" TO "shop_readonly"']
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.settings.access import DatabaseAccess, ensure_access
from ..module_utils._module import (
    INSTANCE_OPTIONS,
    become_owner,
    load_config,
    serve,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "dict", "required": True, "options": INSTANCE_OPTIONS},
            "databases": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "owner": {"type": "str"},
                    "schemas": {"type": "list", "elements": "str", "default": ["public"]},
                    "creators": {"type": "list", "elements": "str", "default": []},
                },
            },
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        databases = [
            DatabaseAccess(item["name"], item["owner"], tuple(item["schemas"]), tuple(item["creators"]))
            for item in module.params["databases"]
        ]
        return ensure_access(config, databases, check=module.check_mode)

    serve(module, operation)


if __name__ == "__main__":
    main()
