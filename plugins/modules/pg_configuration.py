#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a cluster its configuration, so that a mistake in it costs a message and not a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_configuration
short_description: Give a PostgreSQL cluster its configuration, checked by the server before it takes effect
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Places settings, C(pg_hba.conf) and C(pg_ident.conf) as a whole or not at all.
  - Before anything is placed, the server's own program reads the candidate (an unknown setting, a wrong value, a
    line that makes no sense are refused with file, line and name), the access rules are read, and rules that would
    lock out the superuser's socket or the keeper's role are refused. Settings that take effect at a start only are
    tried in a throw-away cluster, which listens nowhere and archives nothing.
  - Once placed, and before a reload, the running server is asked what it makes of the files
    (C(pg_file_settings), C(pg_hba_file_rules), C(pg_ident_file_mappings)). On any error the old files are put back.
  - A stopped server is started with the new files. When it does not start the old ones are put back, and the
    setting that did it is named.
  - A run that is killed at any moment is undone by the next one.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster.instance
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Values that may be secret are not shown.
  idempotent:
    support: full
options:
  files:
    description: The files, each as a whole or as a block in a file that others write too.
    type: list
    elements: dict
    default: []
    suboptions:
      role:
        description: What the file is to the server.
        type: str
        required: true
        choices: [settings, hba, ident]
      path:
        description:
          - Where it is. A settings file has to be included by C(postgresql.conf), and its name should hold
            C(dbkeeper), by which our own files are told from those of others.
        type: path
        required: true
      content:
        description: Its text.
        type: str
        required: true
      block:
        description:
          - Name of a block at the top of an hba or ident file. The rest of the file stays as it is.
          - Without it, O(files[].content) is the whole file, and the blocks of others are kept on top of it.
        type: str
      mode:
        description: Its permissions. It belongs to the owner of the cluster.
        type: str
        default: "0640"
  state:
    description:
      - V(configured) places the files and has the server take them over by a reload, or by a start when it is stopped.
      - V(in_effect) restarts the server when settings wait for that and O(restart) allows it. It belongs into a
        handler, after all that may change settings.
    type: str
    default: configured
    choices: [configured, in_effect]
  restart:
    description:
      - Whether a running server may be restarted.
      - V(first_install) never restarts one that runs already. V(when_idle) does while no client is connected.
        V(allowed) does.
      - With V(configured) nothing is restarted. The result is changed when O(restart) would let V(in_effect) do it.
    type: str
    default: first_install
    choices: [first_install, when_idle, allowed]
  start:
    description: Whether a stopped server is started.
    type: bool
    default: true
  at_least:
    description:
      - Values of a primary that its standby must not fall below, such as C(max_connections). Less is refused.
      - What the primary has now is known on a standby from what it has replayed. Of that it keeps as much, whatever
        O(files) says, until the primary has less.
    type: dict
    default: {}
  replication_role:
    description:
      - Role that the access rules let in for backups. It is made with C(LOGIN) and C(REPLICATION), and without a
        password, as M(dbkeeper.ops.pg_replication_role) does it, once the server runs.
    type: str
  timeout_seconds:
    description: How long starting or stopping may take.
    type: int
    default: 300
  wait_seconds:
    description: How long to wait for another change, a backup or a restore of the same cluster to end.
    type: int
    default: 60
seealso:
  - module: dbkeeper.ops.pg_cluster
  - module: dbkeeper.ops.pg_replication_role
"""

EXAMPLES = r"""
- name: Log what takes more than a second
  dbkeeper.ops.pg_configuration:
    instance: "{{ postgresql_location }}"
    files:
      - role: settings
        path: /etc/postgresql/15/main/conf.d/50-dbkeeper-log.conf
        content: |
          log_min_duration_statement = '1s'

- name: Restart the server if a setting waits for that and nobody is connected
  dbkeeper.ops.pg_configuration:
    instance: "{{ postgresql_location }}"
    state: in_effect
    restart: when_idle
"""

RETURN = r"""
plan:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [write /etc/postgresql/15/main/conf.d/10-dbkeeper.conf, reload]
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
  description: Settings that wait for a restart, with the value until then and the one that is wanted.
  returned: success
  type: list
  elements: dict
  sample:
    - name: max_connections
      running: "100"
      wanted: "200"
restart_allowed:
  description: Whether settings wait for a restart and O(restart) lets O(state=in_effect) do it now.
  returned: success
  type: bool
  sample: false
held:
  description: On a standby, settings that were kept as high as its primary has them, against O(files).
  returned: success
  type: dict
  sample: {}
in_effect:
  description:
    - What of the files and blocks of this collection the running server has, from whichever role it came; empty
      while settings wait for a restart. P(dbkeeper.ops.in_effect#filter) reads it.
    - A part that holds something secret, or that something else overrides, is left out.
  returned: success
  type: dict
  contains:
    parts:
      description: Files, and blocks of files, each with the SHA-256 of its content.
      type: list
      elements: dict
      sample:
        - role: hba
          path: /etc/postgresql/15/main/pg_hba.conf
          block: backup
          mode: "0640"
          digest: 2a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea
    replication_roles:
      description: Roles that may log in and replicate.
      type: list
      elements: str
      sample: [dbkeeper, postgres]
overridden:
  description: Settings of ours that have no effect, because ALTER SYSTEM, a later file or the command line wins.
  returned: success
  type: list
  elements: dict
  sample:
    - name: work_mem
      wanted: 16MB
      effective: 4MB
      file: /var/lib/postgresql/15/main/postgresql.auto.conf
      line: 3
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.replication_role import ensure_role
from ..module_utils._engine.settings.operation import bring_into_effect, configure
from ..module_utils._engine.settings.request import MODE, POLICIES, ROLES, request_from
from ..module_utils._engine.settings.shown import shown_files
from ..module_utils._module import (
    INSTANCE_OPTIONS,
    become_owner,
    load_config,
    serve,
)


def together(configured: dict[str, Any], role: dict[str, Any]) -> dict[str, Any]:
    """One result of both."""
    return {
        **configured,
        "changed": configured["changed"] or role["changed"],
        "executed": configured["executed"] or role["executed"],
        "plan": configured["plan"] + role["plan"],
        "diff": configured["diff"] + ([role["diff"]] if role["changed"] else []),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "dict", "required": True, "options": INSTANCE_OPTIONS},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "role": {"type": "str", "required": True, "choices": list(ROLES)},
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "block": {"type": "str"},
                    "mode": {"type": "str", "default": MODE},
                },
            },
            "state": {"type": "str", "default": "configured", "choices": ["configured", "in_effect"]},
            "restart": {"type": "str", "default": "first_install", "choices": list(POLICIES)},
            "start": {"type": "bool", "default": True},
            "replication_role": {"type": "str"},
            "at_least": {"type": "dict", "default": {}},
            "timeout_seconds": {"type": "int", "default": 300},
            "wait_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    # What is repeated of the options (with -vvv) is what may be shown.
    repeated = {
        "invocation": {"module_args": {**module.params, "files": shown_files(module.params["files"])}}
    }

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        act = configure if module.params["state"] == "configured" else bring_into_effect
        result = act(config, request_from(module.params), check=module.check_mode)
        role = module.params["replication_role"]
        if role and result["running"]:
            result = together(result, ensure_role(config, role, check=module.check_mode))
        return {**result, **repeated}

    serve(module, operation, wait_seconds=module.params["wait_seconds"], explain=lambda _error: repeated)


if __name__ == "__main__":
    main()
