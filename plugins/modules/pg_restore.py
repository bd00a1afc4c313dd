#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a logical dump, or finds that it is loaded."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore
short_description: Load a dump of the repository into a database
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Loads a whole database into a new one, or in the place of one that is there. It is loaded beside under a temporary
    name, its rows are proven against the dump's record, and only then it gets its name. The one that it replaces is
    kept under another name, and gets its name back with O(state=undone).
  - Loads a dump, or chosen schemas or tables with all that belongs to them, into a database that stays. That is one
    transaction, rows proven before it is committed.
  - Each error of C(pg_restore) fails the load, unless it is one of O(accept_errors).
  - What was loaded from which dump is recorded in the database, as its setting C(dbkeeper.loads), and found again.
  - Runs on the host by itself while the controller shows its progress. One that was killed is finished or taken back
    by the next one.
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
  state:
    description:
      - V(loaded) loads a dump. V(undone) gives the database that the last load replaced its name back, and keeps what
        was loaded under another name.
    type: str
    choices: [loaded, undone]
    default: loaded
  dump:
    description: Label or key of a dump. V(latest) is the newest verified one of O(database).
    type: str
    default: latest
  database:
    description: Whose dump it is.
    type: str
  target:
    description: The database to load into. If not set, the one that was dumped.
    type: str
  replace:
    description: Whether the loaded database takes the place of one that is there.
    type: bool
    default: false
  confirm:
    description: The name of the database, to say that it may be replaced, or that a load may be undone.
    type: str
  schemas:
    description: Only these schemas.
    type: list
    elements: str
    default: []
  tables:
    description:
      - Only these tables, such as V(sales.orders) or V("Odd Name".orders), with their rows, indexes, constraints,
        triggers, sequences, partitions and privileges. The types and functions that they need have to be there.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Entries of the dump to leave out, as shell patterns of what C(dbkeeper load --list) shows.
    type: list
    elements: str
    default: []
  content:
    description: Definitions (V(schema)), rows (V(data)) or both.
    type: str
    choices: [all, schema, data]
    default: all
  jobs:
    description: How many tables and indexes are loaded at the same time, into a new database.
    type: int
    default: 1
  owners:
    description: Whether owners are kept, or everything belongs to the superuser.
    type: str
    choices: [keep, drop]
    default: keep
  owner_map:
    description: Other roles in the place of the dump's, for owners and privileges.
    type: dict
    default: {}
  privileges:
    description: Whether privileges are kept.
    type: str
    choices: [keep, drop]
    default: keep
  tablespaces:
    description: Whether tablespaces are kept. Without, everything goes into the default one.
    type: bool
    default: true
  globals:
    description:
      - Whether roles that are missing are made first, as the dump has them. Roles that are there stay as they are.
    type: bool
    default: false
  accept_errors:
    description: Regular expressions of errors that do not fail the load.
    type: list
    elements: str
    default: []
  analyze:
    description: Whether statistics are gathered before a new database gets its name.
    type: bool
    default: true
  proof:
    description:
      - What the rows of every table are held against. V(auto) is all that the dump recorded; V(digest) refuses a dump
        that did not record digests; V(count) compares numbers of rows only; V(none) compares nothing.
      - What was proven is said in RV(load).
    type: str
    choices: [auto, digest, count, none]
    default: auto
  again:
    description: Whether to load although it is recorded as loaded.
    type: bool
    default: false
  drain_seconds:
    description: How long transactions may go on before their sessions are ended for the swap.
    type: int
    default: 10
  wait_seconds:
    description: How long to wait for a load that runs already.
    type: int
    default: 86400
seealso:
  - module: dbkeeper.ops.pg_dump
  - module: dbkeeper.ops.pg_pitr
"""

EXAMPLES = r"""
- name: Put yesterday's state beside the live database
  dbkeeper.ops.pg_restore:
    database: app
    target: app_yesterday
    jobs: 4

- name: Replace a database by the newest dump
  dbkeeper.ops.pg_restore:
    database: app
    replace: true
    confirm: app

- name: Bring one lost table back
  dbkeeper.ops.pg_restore:
    database: app
    tables: [sales.orders]

- name: The old database after all
  dbkeeper.ops.pg_restore:
    state: undone
    target: app
    confirm: app
"""

RETURN = r"""
plan:
  description: What was done, or would be done in check mode.
  returned: success
  type: dict
  sample:
    action: beside
    reason: database 'app' is replaced
    target: app
    kept: app_before_20261121T031500Z
    tables: [sales.orders]
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
dump:
  description: The dump that was loaded.
  returned: O(state=loaded)
  type: dict
  sample: {key: dump/app/20261121T031500Z-dump, database: app, label: 20261121T031500Z-dump}
load:
  description:
    - What came of it. Empty in check mode and when nothing was done.
    - With C(deadlocks) pg_restore's own processes had locked each other out, and the database was filled anew by one.
  returned: O(state=loaded)
  type: dict
  sample:
    proven: true
    proof: digest
    rows: 48211
    kept: app_before_20261121T031500Z
    connections_ended: 3
    downtime_seconds: 0.4
    accepted_errors: []
    roles: []
seconds:
  description: How long each phase took.
  returned: when something was loaded
  type: dict
  sample: {restore: 12.5, prove: 3.1}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.home import repository_named_by
from ..module_utils._engine.logical.load import LoadRequest, load, undo_load
from ..module_utils._engine.logical.load_request import PROOFS
from ..module_utils._engine.repository.selection import CONTENTS
from ..module_utils._module import CLUSTER_OPTIONS, become_owner, load_config, serve

KEEP = {"type": "str", "choices": ["keep", "drop"], "default": "keep"}
LISTS = ("schemas", "tables", "exclude", "accept_errors")
FLAGS = {
    "tablespaces": True,
    "analyze": True,
    "replace": False,
    "globals": False,
    "again": False,
}
SAME = ("dump", "database", "confirm", "content", "jobs", "privileges", "proof", "drain_seconds", "owner_map")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "state": {"type": "str", "choices": ["loaded", "undone"], "default": "loaded"},
            "dump": {"type": "str", "default": "latest"},
            **{name: {"type": "str"} for name in ("database", "target", "confirm")},
            **{name: {"type": "list", "elements": "str", "default": []} for name in LISTS},
            **{name: {"type": "bool", "default": value} for name, value in FLAGS.items()},
            "content": {"type": "str", "choices": list(CONTENTS), "default": "all"},
            "proof": {"type": "str", "choices": list(PROOFS), "default": "auto"},
            "owners": KEEP,
            "privileges": KEEP,
            "owner_map": {"type": "dict", "default": {}},
            "jobs": {"type": "int", "default": 1},
            "drain_seconds": {"type": "int", "default": 10},
            "wait_seconds": {"type": "int", "default": 86400},
        },
        mutually_exclusive=[("schemas", "tables")],
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        given = module.params
        config = load_config(given)
        become_owner(config)
        if given["state"] == "undone":
            target = given["target"] or given["database"]
            result = undo_load(config, target, confirm=given["confirm"], check=module.check_mode)
            after = result["plan"] if result["changed"] else {}
            return {**result, "diff": {"before": {}, "after": after}}
        request = LoadRequest(
            target=given["target"] or "",
            owners="map" if given["owner_map"] else given["owners"],
            **{name: tuple(given[name]) for name in LISTS},
            **{name: given[name] for name in (*SAME, *FLAGS)},
        )
        result = load(config, repository_named_by(config), request, check=module.check_mode)
        after = {"steps": result["plan"]["steps"]} if result["changed"] else {}
        return {**result, "diff": {"before": {}, "after": after}}

    serve(module, operation, wait_seconds=0 if module.check_mode else module.params["wait_seconds"])


if __name__ == "__main__":
    main()
