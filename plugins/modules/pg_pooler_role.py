#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the role that a pooler looks verifiers up as."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_pooler_role
short_description: A role that PgBouncer looks passwords up as
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Makes a role with C(LOGIN), no password and no other power, and in each pooled database the schema
    C(dbkeeper_pooler) with one function, C(lookup), that only this role may call.
  - The function tells the SCRAM verifier of a role that may log in. It tells nothing of superusers, of roles that are
    members of one or of a role that reads files or runs programs, of roles that replicate, of expired passwords, and
    of passwords that are not stored as SCRAM verifiers.
  - What is not as it should be (the function's text, its owner, who may call it) is put right.
  - Whether the role gets in is decided by C(pg_hba.conf). It needs the method C(cert) or C(peer), since a password
    would have to stand in clear text in the pooler's files.
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
    default: pgbouncer
  databases:
    description: Databases of this server that are pooled. PgBouncer asks in the database that a client wants.
    type: list
    elements: str
    required: true
seealso:
  - module: dbkeeper.ops.pgbouncer
"""

EXAMPLES = r"""
- name: Let a pooler look verifiers up
  dbkeeper.ops.pg_pooler_role:
    instance: "{{ postgresql_location }}"
    databases: [app, shop]
"""

RETURN = r"""
plan:
  description: The SQL that was run, or would be run in check mode, each with its database.
  returned: success
  type: list
  elements: str
  sample: ['postgres: CREATE ROLE "pgbouncer" LOGIN']
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.pooling.lookup import ensure_lookup
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
            "name": {"type": "str", "default": "pgbouncer"},
            "databases": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        params = module.params
        return ensure_lookup(config, params["name"], params["databases"], check=module.check_mode)

    serve(module, operation)


if __name__ == "__main__":
    main()
