#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a logical dump, or finds that one is there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_dump
short_description: Dump a database, schemas or tables into the repository
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Dumps a database of a running cluster with C(pg_dump), together with roles and tablespaces, from one snapshot at
    which the rows of every table are counted and digested as well, so that a load can be proven.
  - The dump is written to a temporary place, listed back, hashed, made durable and only then given its name. One that
    fails never replaces or hides a good one; the next run clears away what it left.
  - Runs on the host by itself while the controller shows its progress, and goes on when the connection is lost.
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
      - With O(label) or O(max_age), a dump that satisfies it is enough. With neither, every run takes one.
options:
  name:
    description:
      - A dump of the cluster's description, by its label there. Everything else is then as the description says.
    type: str
  database:
    description: The database to dump, whatever the description says. Any name that PostgreSQL allows.
    type: str
  label:
    description:
      - Name of the dump. When a verified dump of the database has it, nothing is done.
      - If not set, it is the time in UTC and the kind, such as C(20261121T031500Z-dump).
    type: str
  max_age:
    description:
      - Do nothing when a verified dump of the same selection is no older than this, such as V(23h) or V(7d).
    type: str
  format:
    description:
      - V(directory) is written by O(jobs) at the same time, V(plain) is SQL.
    type: str
    choices: [custom, directory, plain]
    default: custom
  compression:
    description:
      - V(none), or V(gzip:1), V(lz4:1), V(zstd:3) and the like.
      - V(auto) is V(zstd:3) from PostgreSQL 16 on and for the format V(plain), otherwise V(gzip:1).
    type: str
    default: auto
  jobs:
    description: How many tables are dumped at the same time; more than one needs O(format=directory).
    type: int
    default: 1
  content:
    description: Definitions (V(schema)), rows (V(data)) or both.
    type: str
    choices: [all, schema, data]
    default: all
  schemas:
    description: Only these schemas. Patterns as those of C(pg_dump --schema); a name in double quotes means itself.
    type: list
    elements: str
    default: []
  exclude_schemas:
    description: Without these schemas.
    type: list
    elements: str
    default: []
  tables:
    description: Only these tables, such as V(sales.orders) or V("Odd Name"."*").
    type: list
    elements: str
    default: []
  exclude_tables:
    description: Without these tables.
    type: list
    elements: str
    default: []
  globals:
    description: Whether roles and tablespaces are kept beside it, in a file that its owner alone may read.
    type: bool
    default: true
  rows:
    description:
      - What is recorded of the rows of every table at the snapshot of the dump, which a load is proven by.
      - V(count) costs up to a tenth of the time where O(jobs) keep all processors busy. V(digest) also digests their
        content, and takes as much processor time as reading them for the dump. V(none) records nothing.
      - V(auto) counts always, and digests where the host has more than two processors for each of O(jobs), so that the
        dump does not become slower.
    type: str
    choices: [auto, digest, count, none]
    default: auto
  lock_wait_seconds:
    description: How long a table may be locked by others before the dump is given up.
    type: int
    default: 300
  wait_seconds:
    description: How long to wait for a dump that runs already, before this one looks whether it is still needed.
    type: int
    default: 86400
seealso:
  - module: dbkeeper.ops.pg_backup_info
  - module: dbkeeper.ops.pg_backup_expire
"""

EXAMPLES = r"""
- name: Dump a database unless there is a dump of today
  dbkeeper.ops.pg_dump:
    cluster: main
    database: app
    max_age: 23h

- name: Two tables before a migration, once
  dbkeeper.ops.pg_dump:
    cluster: main
    database: app
    label: before-migration-42
    tables: [sales.orders, sales.order_lines]
"""

RETURN = r"""
plan:
  description: What was done, or would be done in check mode.
  returned: success
  type: dict
  contains:
    key:
      description: What names the dump, C(dump/DATABASE/LABEL) with the database's name percent-encoded.
      returned: always
      type: str
      sample: dump/app/20261121T031500Z-dump
    reason:
      description: Why it is taken, or why none is.
      returned: always
      type: str
      sample: no verified dump is younger than 23 h 0 min
    steps:
      description: What is done, in words and commands. Empty when nothing is.
      returned: always
      type: list
      elements: str
      sample: []
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
dump:
  description: The dump that satisfies the request, empty in check mode when there is none yet.
  returned: success
  type: dict
  sample:
    key: dump/app/20261121T031500Z-dump
    status: verified
    stored_bytes: 1048576
    rows: {tables: 12, rows: 48211, digested: 12}
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.home import repository_named_by
from ..module_utils._engine.cluster.wishes_dumps import ROWS
from ..module_utils._engine.core.sizes import parse_duration
from ..module_utils._engine.logical.dump import DumpRequest, described, take_dump
from ..module_utils._engine.repository.selection import CONTENTS, FORMATS, Selection
from ..module_utils._module import (
    CLUSTER_OPTIONS,
    become_owner,
    config_path,
    load_config,
    serve,
)

PATTERNS = ("schemas", "exclude_schemas", "tables", "exclude_tables")
SAME = ("database", "label", "format", "compression", "jobs", "globals", "rows", "lock_wait_seconds")


def request_of(params: dict[str, object]) -> DumpRequest:
    age = params["max_age"]
    return DumpRequest(
        selection=Selection(params["content"], *(tuple(params[name]) for name in PATTERNS)),
        max_age_seconds=parse_duration(str(age), attempted="read max_age") if age else None,
        **{name: params[name] for name in SAME},
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            **{name: {"type": "str"} for name in ("name", "database", "label", "max_age")},
            "format": {"type": "str", "choices": list(FORMATS), "default": "custom"},
            "compression": {"type": "str", "default": "auto"},
            "jobs": {"type": "int", "default": 1},
            "content": {"type": "str", "choices": list(CONTENTS), "default": "all"},
            **{name: {"type": "list", "elements": "str", "default": []} for name in PATTERNS},
            "globals": {"type": "bool", "default": True},
            "rows": {"type": "str", "choices": list(ROWS), "default": "auto"},
            "lock_wait_seconds": {"type": "int", "default": 300},
            "wait_seconds": {"type": "int", "default": 86400},
        },
        mutually_exclusive=[("label", "max_age"), ("name", "database")],
        required_one_of=[("name", "database")],
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        name = module.params["name"]
        request = described(config, [name])[0] if name else request_of(module.params)
        result = take_dump(config, repository_named_by(config), request, check=module.check_mode)
        after = {"steps": result["plan"]["steps"]} if result["changed"] else {}
        return {**result, "diff": {"before": {}, "after": after}}

    if module.check_mode and not os.path.exists(config_path(module.params)):
        module.warn("The cluster is not known here yet; the first dump is taken once it is.")
        module.exit_json(changed=True, executed=False, plan={}, dump={})
    serve(module, operation, wait_seconds=0 if module.check_mode else module.params["wait_seconds"])


if __name__ == "__main__":
    main()
