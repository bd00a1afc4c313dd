#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks a moment that can be restored by name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore_point
short_description: Mark a moment that can be restored by name
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Writes a named restore point into the WAL, before a migration for example.
  - With O(cluster) or O(config) a name that is there already is kept as it is, because two points of one name
    cannot be told apart in a restore.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: partial
    details:
      - Without O(cluster) and O(config) nothing is known of earlier points, and every run makes one.
options:
  name:
    description: Name of the restore point, 1 to 63 bytes.
    type: str
    required: true
  archive:
    description: Whether the server finishes the segment, so that the point can be restored at once.
    type: bool
    default: true
  cluster:
    description: Name of the cluster, as the role P(dbkeeper.ops.backup#role) has registered it on the host.
    type: str
  config:
    description: File that describes the cluster, instead of O(cluster).
    type: path
notes:
  - Needs a superuser, or a role that may run C(pg_create_restore_point) and C(pg_switch_wal).
  - With O(cluster) or O(config), run it as root or as the owner of the cluster.
seealso:
  - module: dbkeeper.ops.pg_pitr
"""

EXAMPLES = r"""
- name: Mark the moment before the migration
  dbkeeper.ops.pg_restore_point:
    cluster: main
    name: before-migration-42
"""

RETURN = r"""
name:
  description: Name of the restore point.
  returned: success
  type: str
  sample: before-migration-42
lsn:
  description: Where it is in the WAL. Nothing in check mode, when it is still to be made.
  returned: success
  type: str
  sample: 0/3000148
timeline:
  description: The timeline that it is on.
  returned: success
  type: int
  sample: 1
made_at:
  description: When it was made, if that is known.
  returned: success
  type: str
  sample: "2026-11-21T03:15:00.000000Z"
executed:
  description: Whether the plan was executed. False in check mode, and when the point was there.
  returned: success
  type: bool
  sample: true
plan:
  description: The SQL that was run, or would be run in check mode.
  returned: success
  type: list
  elements: str
  sample: ["SELECT pg_create_restore_point('before-migration-42')", "SELECT pg_switch_wal()"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.backup.restore_point import RestorePointRequest, create_restore_point
from ..module_utils._module import CONNECTION_OPTIONS, become_owner, connection_options, load_config, serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "name": {"type": "str", "required": True},
            "archive": {"type": "bool", "default": True},
            "cluster": {"type": "str"},
            "config": {"type": "path"},
        },
        mutually_exclusive=[("cluster", "config")],
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        known = module.params["cluster"] or module.params["config"]
        config = load_config(module.params) if known else None
        if config:
            become_owner(config)
        request = RestorePointRequest(module.params["name"], archive=module.params["archive"])
        options = connection_options(module.params, config)
        return create_restore_point(options, request, config=config, check=module.check_mode)

    serve(module, operation)


if __name__ == "__main__":
    main()
