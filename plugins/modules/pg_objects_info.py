#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says which roles, databases, extensions, groups and indexes are not as they are declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_objects_info
short_description: Which roles, databases and objects in them differ from what is declared
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Compares everything at once, with a handful of statements, so that a play in which nothing is to be done needs one
    task for it instead of one for each object.
  - Where it is in doubt it says that an object differs. What makes the object looks again.
  - The options have the shapes of the role's variables.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.info
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster.instance
options:
  roles:
    description:
      - Roles as in C(postgresql_roles) of the role P(dbkeeper.ops.postgresql#role), without their passwords.
    type: list
    elements: dict
    default: []
  verifiers:
    description:
      - SCRAM verifiers by the names of roles, as P(dbkeeper.ops.scram_verifier#lookup) makes them.
      - A role that is not in it must not have a password.
    type: dict
    default: {}
  databases:
    description: Databases as in C(postgresql_databases).
    type: list
    elements: dict
    default: []
  extensions:
    description: Extensions as in C(postgresql_extensions).
    type: list
    elements: dict
    default: []
  indexes:
    description: Indexes as in C(postgresql_indexes). One that is there and valid is as declared.
    type: list
    elements: dict
    default: []
  access:
    description: Databases with groups, as M(dbkeeper.ops.pg_access) takes them.
    type: list
    elements: dict
    default: []
seealso:
  - module: dbkeeper.ops.pg_access
"""

EXAMPLES = r"""
- name: See what differs
  dbkeeper.ops.pg_objects_info:
    instance: "{{ postgresql_location }}"
    databases:
      - name: shop
        owner: shop_admin
  register: objects

- name: Say it
  ansible.builtin.debug:
    var: objects.differences
"""

RETURN = r"""
differences:
  description: What is not as declared, and in what. Empty when there is nothing to do.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: database, name: shop, database: null, what: owner}
    - {kind: extension, name: pg_stat_statements, database: postgres, what: missing}
kinds:
  description: The kinds of objects that differ. One of V(role), V(database), V(access), V(extension), V(index).
  returned: success
  type: list
  elements: str
  sample: [database, extension]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.settings.access import DatabaseAccess
from ..module_utils._engine.settings.objects import Declared, differences
from ..module_utils._module import INSTANCE_OPTIONS, become_owner, load_config, serve

LIST = {"type": "list", "elements": "dict", "default": []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "dict", "required": True, "options": INSTANCE_OPTIONS},
            "roles": LIST,
            "verifiers": {"type": "dict", "default": {}, "no_log": True},
            "databases": LIST,
            "extensions": LIST,
            "indexes": LIST,
            "access": LIST,
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        given = {
            name: module.params[name] for name in ("roles", "verifiers", "databases", "extensions", "indexes")
        }
        access = [
            DatabaseAccess(
                item["name"],
                item.get("owner"),
                tuple(item.get("schemas") or ("public",)),
                tuple(item.get("creators") or ()),
            )
            for item in module.params["access"]
        ]
        found = differences(config, Declared(**given, access=access), check=module.check_mode)
        return {
            "changed": False,
            "differences": [item.to_dict() for item in found],
            "kinds": sorted({item.kind for item in found}),
        }

    serve(module, operation)


if __name__ == "__main__":
    main()
