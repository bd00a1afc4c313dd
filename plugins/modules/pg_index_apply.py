#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drops, builds and rebuilds indexes that were approved, watches the queries, and takes back what makes them worse."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_index_apply
short_description: Act on approved findings about indexes, one by one, watched and reversible
version_added: 0.2.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Takes findings of a report and the ids that somebody approved, looks at each once more, writes down how it is
    undone, and only then acts, concurrently and with short waits for locks.
  - After each step the statements of the table are watched by the counters of C(pg_stat_statements). Where one takes
    longer and reads more blocks for a call than before, the step is undone at once.
  - A finding whose evidence is less than V(validated) is refused, unless its id is in O(force).
  - In check mode everything is looked at and printed, and nothing is done.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  findings:
    description: Findings as M(dbkeeper.ops.pg_index_info) has them. Those that are not approved are ignored.
    type: list
    elements: dict
    default: []
  approve:
    description: Ids of the findings to act on.
    type: list
    elements: str
    default: []
  force:
    description: Ids of findings to act on although their evidence is less than V(validated).
    type: list
    elements: str
    default: []
  state:
    description: V(undone) takes back what was done for these ids, from the record.
    type: str
    default: applied
    choices: [applied, undone]
  state_directory:
    description: Directory in which is kept what was done and how it is undone.
    type: path
    default: /var/lib/dbkeeper/report
  lock_timeout:
    description:
      - Seconds that a statement may wait for a lock before it lets others by.
      - An index that is brought back concurrently keeps nobody waiting, and waits for others for up to an hour.
    type: float
    default: 2
  attempts:
    description: How often a statement that did not get its lock is tried.
    type: int
    default: 5
  watch_seconds:
    description: Seconds that the statements of the table are watched after each step. V(0) acts without watching.
    type: float
    default: 300
  regression_factor:
    description: How many times its time and its blocks for a call make a statement worse.
    type: float
    default: 1.5
  regression_calls:
    description: Calls of a statement within the watch that are needed to judge it.
    type: int
    default: 20
seealso:
  - module: dbkeeper.ops.pg_index_info
"""

EXAMPLES = r"""
- name: Look at the indexes
  dbkeeper.ops.pg_index_info:
    login_unix_socket: /var/run/postgresql
  become: true
  become_user: postgres
  register: indexes

- name: Drop one that somebody approved, and watch for ten minutes
  dbkeeper.ops.pg_index_apply:
    login_unix_socket: /var/run/postgresql
    findings: "{{ indexes.findings }}"
    approve: [ix02-1a2b3c4d5e6f]
    watch_seconds: 600
  become: true
  become_user: postgres

- name: Take it back
  dbkeeper.ops.pg_index_apply:
    login_unix_socket: /var/run/postgresql
    approve: [ix02-1a2b3c4d5e6f]
    state: undone
  become: true
  become_user: postgres
"""

RETURN = r"""
steps:
  description:
    - What was done for each id, with its SQL. C(result) is one of V(done), V(undone-by-itself), V(undone),
      V(already-done), V(already-undone), V(stale), and in check mode V(would-be-done) or V(would-be-undone).
  returned: success
  type: list
  elements: dict
  sample:
    - id: ix02-1a2b3c4d5e6f
      result: done
      action: ['DROP INDEX CONCURRENTLY "public"."orders_customer";']
      undo: ['CREATE INDEX CONCURRENTLY orders_customer ON public.orders USING btree (customer);']
executed:
  description: Whether something was done.
  returned: success
  type: bool
record:
  description: The file with what was done and how it is undone.
  returned: success
  type: str
  sample: /var/lib/dbkeeper/report/7412345678901234567/applied.json
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.report.apply.operation import ApplyRequest, apply
from ..module_utils._module import CONNECTION_OPTIONS, serve

STRINGS = {"type": "list", "elements": "str", "default": []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "findings": {"type": "list", "elements": "dict", "default": []},
            "approve": STRINGS,
            "force": STRINGS,
            "state": {"type": "str", "default": "applied", "choices": ["applied", "undone"]},
            "state_directory": {"type": "path", "default": "/var/lib/dbkeeper/report"},
            "lock_timeout": {"type": "float", "default": 2},
            "attempts": {"type": "int", "default": 5},
            "watch_seconds": {"type": "float", "default": 300},
            "regression_factor": {"type": "float", "default": 1.5},
            "regression_calls": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    params = module.params

    def operation() -> dict[str, object]:
        return apply(
            ApplyRequest(
                login={name: params[name] for name in CONNECTION_OPTIONS},
                state_directory=params["state_directory"],
                findings=params["findings"],
                approved=tuple(params["approve"]),
                forced=tuple(params["force"]),
                undo=params["state"] == "undone",
                lock_seconds=params["lock_timeout"],
                attempts=params["attempts"],
                watch_seconds=params["watch_seconds"],
                factor=params["regression_factor"],
                calls=params["regression_calls"],
                check=module.check_mode,
            )
        )

    serve(module, operation)


if __name__ == "__main__":
    main()
