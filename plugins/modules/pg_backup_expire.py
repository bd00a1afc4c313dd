#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletes backups, WAL and dumps that are not to be kept any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_expire
short_description: Delete backups, WAL and dumps that are not to be kept any more
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Works out what stays, proves that it can do all that is promised, and deletes the rest.
  - The newest verified full backup never goes, nor what is leased, pinned, still being taken, or the base of a
    kept incremental backup. History files always stay.
  - The window is counted back from the last archived commit or backup, so a clock that is wrong does not make
    everything old.
  - Logical dumps stay by generations, the newest of each day, week, month and year that has one. Only newer dumps
    push older ones out, and the newest verified dump of a series never goes.
  - A run that was killed leaves more than is needed, never a backup that is listed and broken; the next run
    finishes.
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
    support: full
options:
  root:
    description:
      - On the host of the repository, where the cluster is not known, the directory of the repository.
      - Needs O(full_count), O(window) or O(wal).
    type: path
  full_count:
    description:
      - How many full backups stay at least.
      - What is not given here is as the cluster's description says; without one, V(2).
    type: int
  window:
    description:
      - How far back every moment stays restorable, such as V(14d), or V(none) for no such promise.
    type: str
  wal:
    description:
      - How far back WAL stays, if that is shorter, such as V(7d), or V(none) for as long as the backups. Older
        backups can then be restored as they ended.
    type: str
  dumps:
    description:
      - Which logical dumps stay, such as V(daily=7,weekly=4,monthly=3,yearly=0,count=0,age=30d,minimum=1).
      - What is not named is 0, C(minimum) is 1. What any rule keeps is kept.
      - If not set, it is as the cluster's description says; without one, no dump is deleted.
    type: str
    version_added: 0.1.0
  schema_dumps:
    description: The same for dumps without rows. If not set, the rules of O(dumps) are theirs, too.
    type: str
    version_added: 0.1.0
  bin_directory:
    description:
      - With O(root), the directory of PostgreSQL's programs. They are needed for WAL that the index does not know
        yet.
    type: path
  wait_seconds:
    description: How long to wait for another expiry that runs already.
    type: int
    default: 600
seealso:
  - module: dbkeeper.ops.pg_basebackup
  - module: dbkeeper.ops.pg_backup_info
"""

EXAMPLES = r"""
- name: Keep what the description of the cluster says
  dbkeeper.ops.pg_backup_expire:
    cluster: main

- name: On the host of the repository, keep every moment of two weeks and at least two full backups
  dbkeeper.ops.pg_backup_expire:
    cluster: main
    root: /var/lib/dbkeeper/repository
    full_count: 2
    window: 14d
"""

RETURN = r"""
plan:
  description: What goes and what stays, and why. In check mode nothing is deleted.
  returned: success
  type: dict
  contains:
    since:
      description: From this moment on everything can be restored. Empty when it is the oldest backup.
      returned: always
      type: str
      sample: "2026-11-07T03:15:07.120000Z"
    wal_since:
      description: The same for moments between the ends of backups.
      returned: always
      type: str
      sample: "2026-11-14T03:15:07.120000Z"
    backups:
      description: Each backup with its C(action), V(keep) or V(expire), and C(why).
      returned: always
      type: list
      elements: dict
      sample: [{label: 20261121T031500Z-full, action: keep, why: count}]
    wal:
      description: The archived WAL in stretches of neighbours with one C(action).
      returned: always
      type: list
      elements: dict
      sample: [{first: "000000010000000000000001", last: "000000010000000000000042", action: expire, why: outside}]
    dumps:
      description: Each logical dump with its C(action) and C(why).
      returned: always
      type: list
      elements: dict
      sample: [{key: dump/app/20261121T031500Z-app, action: keep, why: daily}]
    given_up:
      description: Timelines that the undoing of a restore gave up, as far as nothing in the archive contradicts that.
      returned: always
      type: list
      elements: dict
      sample: [{timeline: 2, end_lsn: 0/5000028, resumed_timeline: 1, resumed_lsn: 0/6000028}]
    blocked:
      description: What keeps more than is wanted, such as a lease or a pin.
      returned: always
      type: list
      elements: dict
      sample: []
    freed_bytes:
      description: What is, or would be, freed.
      returned: always
      type: int
      sample: 104857600
executed:
  description: Whether anything was deleted. False in check mode.
  returned: success
  type: bool
  sample: true
deleted:
  description: What was deleted, empty in check mode.
  returned: success
  type: dict
  sample: {backups: [20261101T031500Z-full], dumps: [], segments: 66, freed_bytes: 104857600, spared: []}
"""

from argparse import Namespace

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.backup.expire import dump_policy_of, expire_cluster, expire_there, policy_of
from ..module_utils._module import CLUSTER_OPTIONS, become_owner, load_config, serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "root": {"type": "path"},
            "full_count": {"type": "int"},
            "window": {"type": "str"},
            "wal": {"type": "str"},
            "dumps": {"type": "str"},
            "schema_dumps": {"type": "str"},
            "bin_directory": {"type": "path"},
            "wait_seconds": {"type": "int", "default": 600},
        },
        mutually_exclusive=[("root", "config")],
        required_by={"bin_directory": ("root",)},
        supports_check_mode=True,
    )
    asked = Namespace(**module.params)

    def operation() -> dict[str, object]:
        if asked.root:
            policy = policy_of(asked.full_count, asked.window, asked.wal, None)
            dumps = dump_policy_of(asked.dumps, asked.schema_dumps, None)
            place = (asked.root, asked.cluster, policy, asked.bin_directory)
            result = expire_there(*place, dumps=dumps, check=module.check_mode)
        else:
            config = load_config(module.params)
            become_owner(config)
            policy = policy_of(asked.full_count, asked.window, asked.wal, config.retention)
            dumps = dump_policy_of(asked.dumps, asked.schema_dumps, config.dump_retention)
            result = expire_cluster(config, policy, dumps=dumps, check=module.check_mode)
        gone = [one for one in result["plan"]["backups"] if one["action"] == "expire"]
        dumped = [one["key"] for one in result["plan"]["dumps"] if one["action"] == "expire"]
        before = {
            "backups": [one["label"] for one in gone],
            "dumps": dumped,
            "bytes": result["plan"]["freed_bytes"],
        }
        held = [one["error"]["happened"] for one in result["plan"]["held"]]
        return {
            **result,
            "warnings": held,
            "diff": {"before": before if result["changed"] else {}, "after": {}},
        }

    serve(module, operation, wait_seconds=0 if module.check_mode else asked.wait_seconds)


if __name__ == "__main__":
    main()
