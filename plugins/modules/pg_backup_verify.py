#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifies what is stored."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_verify
short_description: Verify that stored backups, WAL and dumps are still what was stored
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Looks at everything that is stored, reads what is new, what was touched, and a part of the rest in turn, so that
    each byte is read about once a week. With O(thorough) everything is read.
  - A base backup is held against its manifest file by file, as C(pg_verifybackup) does, without unpacking it to disk.
    A dump is held against its digests and listed by C(pg_restore). WAL is read again, and has to lead from each
    backup to the present as far as that is promised.
  - What is found damaged is marked. Restores do not use it, expiry does not count it, and the next base backup that is
    asked for by its age is taken. A later verification that finds it good clears the mark.
  - The module fails when anything is bad. A run that was killed goes on where it was.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  root:
    description: On the host of the repository, where the cluster is not known, the directory of the repository.
    type: path
  labels:
    description: Only these base backups and dumps, thoroughly.
    type: list
    elements: str
    default: []
  thorough:
    description: Whether everything is read.
    type: bool
    default: false
  trial:
    description:
      - Instead load the newest dump of this database into a scratch database, prove its rows against the dump's record,
        and drop it, also after a failure or a kill.
    type: str
  max_rate_kbytes:
    description: So many kilobytes are read a second at most. If not set, there is no limit.
    type: int
  bin_directory:
    description: With O(root), the directory of PostgreSQL's programs, for WAL that the index does not know yet.
    type: path
  wait_seconds:
    description: How long to wait for another verification that runs already.
    type: int
    default: 600
seealso:
  - module: dbkeeper.ops.pg_basebackup
  - module: dbkeeper.ops.pg_backup_expire
"""

EXAMPLES = r"""
- name: Read everything that is stored
  dbkeeper.ops.pg_backup_verify:
    cluster: main
    thorough: true
    max_rate_kbytes: 50000

- name: Prove that the newest dump can be loaded
  dbkeeper.ops.pg_backup_verify:
    cluster: main
    trial: app
"""

RETURN = r"""
plan:
  description: What was, or in check mode would be, read, with C(depth) and C(why) of each.
  returned: success
  type: dict
  sample: {thorough: false, read_bytes: 1048576, backups: [], dumps: []}
verification:
  description:
    - What was found. V(good), the names of what is V(bad), and each of V(backups), V(dumps) and V(wal) with its
      C(result) and C(fault). Empty in check mode.
  returned: success
  type: dict
  sample: {good: true, bad: [], backups: [], dumps: [], wal: [], bytes: 1048576}
trial:
  description: What was loaded and proven, with O(trial).
  returned: success, with O(trial)
  type: dict
  sample: {database: app, dump: dump/app/20261121T014900Z-app, rows: 48211, tables: 12, seconds: 3.2}
executed:
  description: Whether anything was read. False in check mode.
  returned: success
  type: bool
  sample: true
"""

from argparse import Namespace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.core.errors import Failed
from ..module_utils._engine.watch.trial import trial
from ..module_utils._engine.watch.verification import verify_cluster, verify_there
from ..module_utils._engine.watch.verify import VerifyRequest
from ..module_utils._module import CLUSTER_OPTIONS, become_owner, load_config, serve


def verified(params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The result, or its error where something is bad."""
    asked = Namespace(**params)
    request = VerifyRequest(tuple(asked.labels), asked.thorough, asked.max_rate_kbytes)
    if asked.root:
        result = verify_there(asked.root, asked.cluster, request, asked.bin_directory, check=check)
    else:
        config = load_config(params)
        become_owner(config)
        if asked.trial:
            return trial(config, asked.trial, check=check)
        result = verify_cluster(config, request, check=check)
    error = result.get("error")
    if error:
        raise Failed(**error, details={"verification": result["verification"]})
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "root": {"type": "path"},
            "labels": {"type": "list", "elements": "str", "default": []},
            "thorough": {"type": "bool", "default": False},
            "max_rate_kbytes": {"type": "int"},
            "trial": {"type": "str"},
            "bin_directory": {"type": "path"},
            "wait_seconds": {"type": "int", "default": 600},
        },
        mutually_exclusive=[("root", "config"), ("trial", "root")],
        required_by={"bin_directory": ("root",)},
        supports_check_mode=True,
    )
    wait_seconds = 0 if module.check_mode else module.params["wait_seconds"]
    serve(module, lambda: verified(module.params, check=module.check_mode), wait_seconds=wait_seconds)


if __name__ == "__main__":
    main()
