#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the role that base backups connect as."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_replication_role
short_description: A role that may take base backups
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Makes a role with the attributes C(LOGIN) and C(REPLICATION) and no password.
  - Whether it gets in is decided by C(pg_hba.conf).
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
  name:
    description: Name of the role.
    type: str
    default: dbkeeper
"""

EXAMPLES = r"""
- name: Make the role that base backups connect as
  dbkeeper.ops.pg_replication_role:
    instance: "{{ postgresql_location }}"
    name: dbkeeper
"""

RETURN = r"""
plan:
  description: The SQL that was run, or would be run in check mode.
  returned: success
  type: list
  elements: str
  sample: ['CREATE ROLE "dbkeeper" LOGIN REPLICATION']
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.replication_role import ensure_role
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
            "name": {"type": "str", "default": "dbkeeper"},
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        return ensure_role(config, module.params["name"], check=module.check_mode)

    serve(module, operation)


if __name__ == "__main__":
    main()
