#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts, stops, reloads and restarts a cluster, with or without systemd."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_cluster
short_description: Start, stop, reload or restart a PostgreSQL cluster
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Brings one cluster into the wanted state through its service manager, and waits until it has got there.
  - Works where P(ansible.builtin.service#module) cannot, such as with C(pg_ctlcluster) on a host without
    systemd.
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
    support: partial
    details:
      - V(restarted) and V(reloaded) act every time.
options:
  state:
    description:
      - V(started) and V(stopped) do nothing when the cluster is in that state.
      - V(reloaded) makes the server read its settings again, and starts it when it is stopped.
      - V(restarted) stops and starts it.
    type: str
    default: started
    choices: [started, stopped, reloaded, restarted]
  restart:
    description:
      - Whether V(reloaded) may restart the server when a changed setting takes effect at a restart only.
      - V(when_idle) restarts only while no client is connected. What stays pending is a warning.
    type: str
    default: never
    choices: [never, when_idle, always]
  timeout_seconds:
    description: How long starting or stopping may take.
    type: int
    default: 300
seealso:
  - module: dbkeeper.ops.pg_backup_info
"""

EXAMPLES = r"""
- name: Make the server read its settings again
  dbkeeper.ops.pg_cluster:
    instance: "{{ postgresql_location }}"
    state: reloaded
    restart: when_idle
"""

RETURN = r"""
plan:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [reload, restart]
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
running:
  description: Whether the server runs now.
  returned: success
  type: bool
  sample: true
pending_restart:
  description: Settings that have been changed and take effect at the next restart.
  returned: success
  type: list
  elements: str
  sample: [max_connections]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.desired import converge
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
            "state": {
                "type": "str",
                "default": "started",
                "choices": ["started", "stopped", "reloaded", "restarted"],
            },
            "restart": {"type": "str", "default": "never", "choices": ["never", "when_idle", "always"]},
            "timeout_seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        result = converge(
            config,
            module.params["state"],
            restart=module.params["restart"],
            timeout=module.params["timeout_seconds"],
            check=module.check_mode,
        )
        waiting = ", ".join(result["pending_restart"])
        return {
            **result,
            "warnings": [f"{config.cluster}: a restart is needed for {waiting}"] if waiting else [],
        }

    serve(module, operation)


if __name__ == "__main__":
    main()
