#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a base backup, or finds that one is there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_basebackup
short_description: Take a base backup into the repository
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Takes a base backup of a running cluster, verifies it against its manifest, and waits until its WAL is
    archived.
  - A backup that was interrupted is never chosen for a restore, and is cleared away by the next run.
  - Runs on the host by itself while the controller shows its progress, and goes on when the connection is
    lost.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - With O(label) or O(max_age), a backup that satisfies it is enough. With neither, every run takes one.
options:
  label:
    description:
      - Name of the backup. When a verified backup has it, nothing is done.
      - If not set, it is the time in UTC, such as C(20261121T031500Z-full).
    type: str
  max_age:
    description:
      - Do nothing when a verified backup is no older than this, such as V(36h), V(7d) or V(any).
    type: str
  kind:
    description:
      - V(auto) takes an incremental backup where the server can (PostgreSQL 17 and later, C(summarize_wal) on) and
        nothing speaks against it; RV(plan.reason) says why it is full otherwise. V(incremental) is refused then.
      - If not set, it is what the cluster's description says.
    type: str
    choices: [auto, full, incremental]
  wait_seconds:
    description:
      - How long to wait for a backup that runs already, before this one looks whether it is still needed.
    type: int
    default: 86400
seealso:
  - module: dbkeeper.ops.pg_backup_info
  - module: dbkeeper.ops.pg_pitr
"""

EXAMPLES = r"""
- name: Take a base backup unless there is one of today
  dbkeeper.ops.pg_basebackup:
    cluster: main
    max_age: 24h
"""

RETURN = r"""
plan:
  description: What was done, or would be done in check mode.
  returned: success
  type: dict
  contains:
    label:
      description: The backup that satisfies the request, or the one that is taken.
      returned: always
      type: str
      sample: 20261121T031500Z-full
    reason:
      description: Why it is taken, or why none is; and why it is full or incremental.
      returned: always
      type: str
      sample: a backup was asked for; full, because there is no verified backup to build on
    kind:
      description: V(full) or V(incremental).
      returned: always
      type: str
      sample: full
    parent:
      description: The backup that an incremental one is built on.
      returned: always
      type: str
      sample: null
    chain:
      description: All backups that an incremental one needs, the full one first.
      returned: always
      type: list
      elements: str
      sample: []
    steps:
      description: What is done, in words. Empty when nothing is.
      returned: always
      type: list
      elements: str
      sample: []
    plain_bytes:
      description: Size of the data.
      returned: always
      type: int
      sample: 23592960
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
backup:
  description: The backup that satisfies the request, empty in check mode when there is none yet.
  returned: success
  type: dict
  sample:
    label: 20261121T031500Z-full
    status: verified
    stored_bytes: 104857600
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.backup.base import BackupRequest, backup
from ..module_utils._engine.cluster.home import repository_named_by
from ..module_utils._engine.core.sizes import parse_duration
from ..module_utils._module import (
    CLUSTER_OPTIONS,
    become_owner,
    config_path,
    load_config,
    serve,
)

ANY_AGE_SECONDS = 100 * 366 * 86400


def max_age_seconds(text: str | None) -> int | None:
    if not text:
        return None
    return ANY_AGE_SECONDS if text == "any" else parse_duration(text, attempted="read max_age")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "label": {"type": "str"},
            "max_age": {"type": "str"},
            "kind": {"type": "str", "choices": ["auto", "full", "incremental"]},
            "wait_seconds": {"type": "int", "default": 86400},
        },
        mutually_exclusive=[("label", "max_age")],
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        age = max_age_seconds(module.params["max_age"])
        given = {name: module.params[name] for name in ("label", "kind")}
        request = BackupRequest(max_age_seconds=age, **given)
        repository = repository_named_by(config)
        result = backup(config, repository, request, check=module.check_mode)
        after = {"steps": result["plan"]["steps"]} if result["changed"] else {}
        return {**result, "diff": {"before": {}, "after": after}}

    if module.check_mode and not os.path.exists(config_path(module.params)):
        module.warn("The cluster is not known here yet; the first backup is taken once it is.")
        module.exit_json(changed=True, executed=False, plan={}, backup={})
    serve(module, operation, wait_seconds=0 if module.check_mode else module.params["wait_seconds"])


if __name__ == "__main__":
    main()
