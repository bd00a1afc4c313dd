#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads how far the running operation of a cluster is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_progress_info
short_description: How far a base backup or a restore is
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Reads the progress that the running operation of a cluster, or the last one, has written.
  - Speaks to no server, so that it works during a restore.
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
- name: See how far the restore is
  dbkeeper.ops.pg_progress_info:
    cluster: main
  register: __progress
"""

RETURN = r"""
progress:
  description: The newest record, or an empty one when no operation has ever run.
  returned: success
  type: dict
  contains:
    operation:
      description: What is being done.
      returned: when there is a record
      type: str
      sample: restore
    state:
      description: One of C(running), C(done), C(failed), C(refused) and C(interrupted).
      returned: when there is a record
      type: str
      sample: running
    phase:
      description: The part of the operation that runs now.
      returned: when there is a record
      type: str
      sample: replay
    unit:
      description: What RV(progress.done) and RV(progress.total) count.
      returned: when there is a record
      type: str
      sample: bytes
    done:
      description: How much of the phase is done.
      returned: when there is a record
      type: int
      sample: 1288490188
    total:
      description: How much the phase has to do, if known.
      returned: when there is a record
      type: int
      sample: 2147483648
    seconds_left:
      description: Estimated seconds until the phase ends, if known.
      returned: when there is a record
      type: float
      sample: 9.3
line:
  description: The record as a line for people.
  returned: success
  type: str
  sample: "restore · replay: 1.2 GB of 2.0 GB (60 %), 88.0 MB/s, 9.3 s left"
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.core.progress import describe, read_progress
from ..module_utils._module import CLUSTER_OPTIONS, load_config, serve


def main() -> None:
    module = AnsibleModule(argument_spec=dict(CLUSTER_OPTIONS), supports_check_mode=True)

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        record = read_progress(f"{config.state_directory}/progress.json")
        return {"changed": False, "progress": record or {}, "line": describe(record) if record else ""}

    serve(module, operation)


if __name__ == "__main__":
    main()
