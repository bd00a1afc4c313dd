#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what is in the repository and what can be restored from it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_info
short_description: Which backups there are and which moments can be restored
version_added: 0.1.0
author:
  - dbkeeper.ops contributors
description:
  - Lists the base backups of a cluster, the windows of time that each timeline can be restored to, gaps in
    the
    archive, and how fresh the backups are compared with the objectives.
  - Needs the repository only. The server may be down.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.info
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster
seealso:
  - module: dbkeeper.ops.pg_basebackup
  - module: dbkeeper.ops.pg_pitr
"""

EXAMPLES = r"""
- name: See what can be restored
  dbkeeper.ops.pg_backup_info:
    cluster: main
  register: __backups
"""

RETURN = r"""
backups:
  description: The base backups, oldest first.
  returned: success
  type: list
  elements: dict
  sample:
    - label: 20261121T031500Z-full
      status: verified
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.backup.info import information
from ..module_utils._engine.repository.layout import Repository
from ..module_utils._module import (
    CLUSTER_OPTIONS,
    become_owner,
    load_config,
    serve,
)


def main() -> None:
    module = AnsibleModule(argument_spec=dict(CLUSTER_OPTIONS), supports_check_mode=True)

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        repository = Repository(config.repository, config.cluster)
        repository.require("list the backups")
        return {"changed": False, **information(config, repository)}

    serve(module, operation)


if __name__ == "__main__":
    main()
