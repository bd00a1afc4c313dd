#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says which indexes to drop, to rebuild and to add, on what evidence, and how each step is undone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_index_info
short_description: Which indexes are redundant, unused, invalid, bloated or missing, with exact SQL and its undo
version_added: 0.2.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Reads catalogs and statistics once in each database, read-only, and opens no table while it does so. What another
    session has locked exclusively is left out and named, it is never waited for longer than 100 milliseconds.
  - Each finding has an id that stays over runs, a grade of evidence, what it costs, exact SQL to act on it and exact
    SQL to undo that.
  - An index is called redundant when another one does all its work. Keys, operator classes, collations, order,
    predicate, included columns, uniqueness, constraints and replica identity are compared, names are not.
  - Whether an index is unused only all nodes of a cluster can tell. What this node knows of it is in RV(facts); the
    playbook C(dbkeeper.ops.report) puts it together.
  - The first run knows no earlier one. What needs a window of time is then graded V(insufficient), and says what is
    missing.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.info
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._connection
options:
  databases:
    description: Databases to look at. If empty, all that can be entered.
    type: list
    elements: str
    default: []
  state_directory:
    description:
      - Directory in which is kept what earlier runs knew. In check mode nothing is stored.
    type: path
    default: /var/lib/dbkeeper/report
  accepted:
    description: Findings that are known and may stay.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Id of the finding.
        type: str
        required: true
      owner:
        description: Who accepts it.
        type: str
        required: true
      reason:
        description: Why.
        type: str
        required: true
      until:
        description: Last day on which it is accepted, as C(2026-12-31).
        type: str
  limits:
    description: Thresholds that are not to be the default ones.
    type: dict
    default: {}
    suboptions:
      unused_seconds:
        description: How long an index must not have been scanned. By default 35 days.
        type: float
      drop_bytes:
        description: Size from which an index without a scan is told of. By default 10 MB.
        type: int
      bloat_share:
        description: Share of an index that is not needed. By default 0.5.
        type: float
      bloat_bytes:
        description: Size from which bloat is told of. By default 256 MB.
        type: int
      small_table_bytes:
        description: Size below which a foreign key without an index matters little. By default 9 MB.
        type: int
      index_count:
        description: Indexes that a table may have. By default 15.
        type: int
      kept_per_class:
        description: Findings of one class that are shown, the worst. By default 500.
        type: int
  missing_indexes:
    description:
      - How indexes that are missing are looked for. The statements that take most time, of C(pg_stat_statements), are
        planned and never executed.
      - V(plans) tells of tables that are read as a whole. V(hypopg) plans again with hypothetical indexes, which needs
        the extension C(hypopg) in the database. V(build) builds each index on a restored copy, and drops it again.
      - V(copy) is the way to validate without asking anything of production. The newest backup of O(cluster) is
        restored beside it as a server of its own, each index is built there, statements that only read are run with
        common and rare values of their columns before and after, and the copy is removed. It takes the room of a
        restore, and its time, which does not count for O(time_budget).
    type: str
    default: none
    choices: [none, plans, hypopg, build, copy]
  cluster:
    description:
      - Name of the cluster, as the role P(dbkeeper.ops.backup#role) has registered it on the host. Needed by
        O(missing_indexes=copy), which runs as root or as the owner of the cluster.
    type: str
  config:
    description: File that describes the cluster, instead of O(cluster).
    type: path
  is_copy:
    description: Says that the server is a restored copy, on which O(missing_indexes=build) may build.
    type: bool
    default: false
  read_whole:
    description:
      - Reads indexes from end to end, which is meant for a restored copy. Bloat is measured by C(pgstattuple) instead
        of estimated, and every B-tree is checked by C(amcheck), where the database has these extensions.
    type: bool
    default: false
  time_budget:
    description: Seconds that the whole look may take. What was not reached is named in RV(not_seen).
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: See what the indexes of a server are good for
  dbkeeper.ops.pg_index_info:
    login_unix_socket: /var/run/postgresql
    login_user: postgres
  become: true
  become_user: postgres
  register: indexes

- name: Show what may be dropped, and how that is undone
  ansible.builtin.debug:
    msg: "{{ item.id }}: {{ item.action | join(' ') }} -- undo: {{ item.undo | join(' ') }}"
  loop: "{{ indexes.findings | selectattr('action') }}"
  loop_control:
    label: "{{ item.id }}"
"""

RETURN = r"""
node:
  description: The instance that was asked.
  returned: success
  type: dict
  sample: {system_id: "7412345678901234567", server_version_num: 150018, in_recovery: false, role: primary}
databases:
  description: The databases that were looked at.
  returned: success
  type: list
  elements: str
  sample: [shop]
findings:
  description: What was found, worst first.
  returned: success
  type: list
  elements: dict
  sample:
    - id: ix02-1a2b3c4d5e6f
      class: IX02
      severity: medium
      grade: measured
      database: shop
      object: {kind: index, schema: public, name: orders_customer, table: orders}
      action: ['DROP INDEX CONCURRENTLY "public"."orders_customer";']
      undo: ['CREATE INDEX CONCURRENTLY orders_customer ON public.orders USING btree (customer);']
not_seen:
  description: What could not be looked at, why, and what to do so that it can be.
  returned: success
  type: list
  elements: dict
  sample: []
facts:
  description: What all nodes together need, and what is drawn.
  returned: success
  type: dict
  sample: {databases: {}, standbys: [], runs: []}
cost:
  description: What the look has cost the server.
  returned: success
  type: dict
  sample: {server_seconds: 0.21, temp_bytes: 0, seconds: 0.35}
baseline:
  description: Where it is kept what this run knew, and whether it was.
  returned: success
  type: dict
  sample: {file: /var/lib/dbkeeper/report/7412345678901234567/baseline.json.gz, stored: true, runs: 4}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.report.index.limits import Limits
from ..module_utils._engine.report.index.look import Request, look_at
from ..module_utils._engine.report.missing.trying import MODES
from ..module_utils._module import (
    CONNECTION_OPTIONS,
    become_owner,
    connection_options,
    load_config,
    serve,
)

ACCEPTED = {
    "id": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "reason": {"type": "str", "required": True},
    "until": {"type": "str"},
}
LIMITS = {
    "unused_seconds": {"type": "float"},
    "drop_bytes": {"type": "int"},
    "bloat_share": {"type": "float"},
    "bloat_bytes": {"type": "int"},
    "small_table_bytes": {"type": "int"},
    "index_count": {"type": "int"},
    "kept_per_class": {"type": "int"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "databases": {"type": "list", "elements": "str", "default": []},
            "state_directory": {"type": "path", "default": "/var/lib/dbkeeper/report"},
            "accepted": {"type": "list", "elements": "dict", "default": [], "options": ACCEPTED},
            "limits": {"type": "dict", "default": {}, "options": LIMITS},
            "missing_indexes": {"type": "str", "default": "none", "choices": list(MODES)},
            "is_copy": {"type": "bool", "default": False},
            "read_whole": {"type": "bool", "default": False},
            "time_budget": {"type": "float", "default": 60},
            "cluster": {"type": "str"},
            "config": {"type": "path"},
        },
        mutually_exclusive=[("cluster", "config")],
        supports_check_mode=True,
    )
    params = module.params

    def operation() -> dict[str, object]:
        config = load_config(params) if params["cluster"] or params["config"] else None
        if config:
            become_owner(config)
        return look_at(
            Request(
                login=connection_options(params, config),
                state_directory=params["state_directory"],
                databases=tuple(params["databases"]),
                limits=Limits.of(params["limits"]),
                accepted=params["accepted"],
                budget_seconds=params["time_budget"],
                check=module.check_mode,
                missing=params["missing_indexes"],
                is_copy=params["is_copy"],
                read_whole=params["read_whole"],
                config=config,
            )
        )

    serve(module, operation)


if __name__ == "__main__":
    main()
