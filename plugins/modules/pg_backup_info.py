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
  - dbkeeper.ops contributors (@dbkeeper)
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
options:
  history:
    description:
      - How many of the newest runs of backups, dumps, restores and the like are told as RV(history).
    type: int
    default: 0
seealso:
  - module: dbkeeper.ops.pg_basebackup
  - module: dbkeeper.ops.pg_pitr
"""

EXAMPLES = r"""
- name: See what can be restored
  dbkeeper.ops.pg_backup_info:
    cluster: main
  register: __backups

- name: See how the last twenty runs ended, and what is usual
  dbkeeper.ops.pg_backup_info:
    cluster: main
    history: 20
  register: __backups
"""

RETURN = r"""
system_id:
  description: Identifier of the database system that RV(windows), RV(gaps) and RV(archive) are about.
  returned: success
  type: str
  sample: "7564738291047382910"
backups:
  description: The base backups, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    label:
      description: Name of the backup.
      returned: always
      type: str
      sample: 20261121T031500Z-full
    status:
      description: C(running), C(verified), C(failed) or C(expired). Only a verified one is ever restored.
      returned: always
      type: str
      sample: verified
    stopped_at:
      description: From this moment on it can be restored.
      returned: always
      type: str
      sample: "2026-11-21T03:15:07.120000Z"
    stored_bytes:
      description: Its size in the repository.
      returned: always
      type: int
      sample: 104857600
damaged:
  description: Entries of the catalog that cannot be read, each with its C(error).
  returned: success
  type: list
  elements: dict
  sample: []
dumps:
  description: The logical dumps, by database and in the order in which they were begun.
  returned: success
  type: list
  elements: dict
  sample: [{key: dump/app/20261121T031500Z-app, status: verified, stored_bytes: 1048576, series: app}]
damaged_dumps:
  description: Entries of logical dumps that cannot be read, each with its C(key) and C(error).
  returned: success
  type: list
  elements: dict
  sample: []
windows:
  description: What can be restored, a window of time for each timeline and stretch of whole WAL.
  returned: success
  type: list
  elements: dict
  sample:
    - timeline: 1
gaps:
  description:
    - Stretches of WAL that are missing or damaged between two windows. What the policy has let go, because it promises
      no more than the backup before it, is none.
  returned: success
  type: list
  elements: dict
  sample: []
leftovers:
  description:
    - Files in the repository that nobody uses, such as temporary ones of work that was killed, with their age.
    - Null where nobody could look, because dbkeeper on the host of the repository is of an older release.
  returned: success
  type: list
  elements: dict
  sample: [{path: /var/lib/dbkeeper/repository/main/base/.tmp-x, bytes: 4096, age_seconds: 86400.0}]
conflicts:
  description: Archived files that were kept aside, because their name was archived before with other content.
  returned: success
  type: list
  elements: str
  sample: []
newest_commit:
  description: The last commit that has reached the archive.
  returned: success
  type: dict
  sample: {time: "2026-11-21T03:20:00.000000Z", lsn: 0/5000148, xid: 745}
archive:
  description: What the index of the archived WAL knows, or an C(error).
  returned: success
  type: dict
  sample: {}
freshness:
  description: Age of the newest backup, and how long the oldest WAL has been waiting to be archived.
  returned: success
  type: dict
  sample: {newest_backup: 20261121T031500Z-full, newest_backup_age_seconds: 300, unarchived_seconds: 0}
objectives:
  description: What the ages are to be compared with.
  returned: success
  type: dict
  sample: {rpo_seconds: 900, rto_seconds: 1800}
server:
  description: What the server says of itself, empty when it does not run.
  returned: success
  type: dict
  sample: {running: true}
archiver:
  description: The state of archiving, empty when no server answers.
  returned: success
  type: dict
  sample: {}
streaming:
  description: The replication slot of C(dbkeeper receive), empty where WAL is not streamed or no server answers.
  returned: success
  type: dict
  sample: {}
disk:
  description: Size and free space of the repository's file system.
  returned: success
  type: dict
  sample: {free_bytes: 70000000000}
retention:
  description: >-
    What is kept (C(policy)), the C(oldest) moment that can be restored, what the C(last) expiry did and what
    blocked it, backups that are C(pinned), and the C(leases) that hold now.
  returned: success
  type: dict
  sample: {policy: {full_count: 2, window_seconds: 1209600, wal_seconds: null}, pinned: [], leases: []}
history:
  description:
    - The newest C(runs), oldest first, each with its C(operation), C(who), C(began_at), C(seconds), C(result)
      (V(ok), V(unchanged), V(refused), V(failed), V(interrupted) or V(running)), C(code), C(error) and C(facts).
    - C(trends) has, for each kind of run, the duration and size of the newest beside the median of those before it.
  returned: success and O(history) is above 0
  type: dict
  sample:
    runs:
      - {operation: backup, result: ok, seconds: 41.2, facts: {label: 20261121T031500Z-full, stored_bytes: 104857600}}
    trends:
      backup/full: {runs: 10, seconds: {newest: 41.2, median: 40.1, factor: 1.027}}
last_restore:
  description: The evidence of the last restore, empty when there was none.
  returned: success
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.backup.info import information
from ..module_utils._engine.cluster.home import repository_named_by
from ..module_utils._engine.watch.known import history_of
from ..module_utils._module import (
    CLUSTER_OPTIONS,
    become_owner,
    load_config,
    serve,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CLUSTER_OPTIONS, "history": {"type": "int", "default": 0}}, supports_check_mode=True
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        repository = repository_named_by(config)
        repository.require("list the backups")
        last = max(0, module.params["history"])
        history = {"history": history_of(config.state_directory, last=last)} if last else {}
        return {"changed": False, **information(config, repository), **history}

    serve(module, operation)


if __name__ == "__main__":
    main()
