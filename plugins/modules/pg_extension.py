#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes an extension in one database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_extension
short_description: An extension in one database
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Makes an extension in the schema C(public) of one database, over the socket and without a driver.
  - Its version is left alone. On a standby nothing is done, as extensions come from the primary.
  - For what the collection itself looks at. Extensions of applications are better declared in
    C(postgresql_extensions) of the role P(dbkeeper.ops.postgresql#role).
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
    description: Name of the extension. Its files must be on the host.
    type: str
    required: true
  database:
    description: The database.
    type: str
    default: postgres
"""

EXAMPLES = r"""
- name: Have statements counted where administrators look
  dbkeeper.ops.pg_extension:
    instance: "{{ postgresql_location }}"
    name: pg_stat_statements
"""

RETURN = r"""
plan:
  description: The SQL that was run, or would be run in check mode.
  returned: success
  type: list
  elements: str
  sample: ['CREATE EXTENSION "pg_stat_statements" SCHEMA public']
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.extension import ensure_extension
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
            "name": {"type": "str", "required": True},
            "database": {"type": "str", "default": "postgres"},
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        return ensure_extension(
            config, module.params["name"], module.params["database"], check=module.check_mode
        )

    serve(module, operation)


if __name__ == "__main__":
    main()
