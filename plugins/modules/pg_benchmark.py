#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests a workload with pgbench and keeps what came out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_benchmark
short_description: A workload test with pgbench, and the history of earlier ones
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Makes a database of its own, runs C(pgbench) against it, directly and through PgBouncer, and drops it again.
  - What came out is kept with the settings of the server and facts of the host, so that runs can be compared.
  - It loads the server with all it has. Not for the busy hours of a server in production.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: none
    details:
      - A test that is asked for is run every time. Without O(workloads) nothing is run.
options:
  workloads:
    description:
      - What is run. V(read_only) and V(many_clients) look up rows by their key, V(read_write) is like TPC-B.
      - Without any, the history is returned.
    type: list
    elements: str
    choices: [read_only, read_write, many_clients]
    default: []
  bin_directory:
    description: Directory of the program C(pgbench). If not set, the one in the C(PATH).
    type: path
  database:
    description:
      - The database that is made and dropped. One of this name that somebody else made is used when it
        has no tables, and stays without any.
    type: str
    default: dbkeeper_benchmark
  scale:
    description: Scale of pgbench's tables, 100,000 accounts or about 15 MB each.
    type: int
    default: 10
  seconds:
    description: How long each run lasts.
    type: int
    default: 10
  clients:
    description: Clients of V(read_only) and V(read_write).
    type: int
    default: 4
  many_clients:
    description: Clients of V(many_clients). The server must allow as many connections.
    type: int
    default: 50
  pooler:
    description:
      - What differs from the C(login_) options for PgBouncer, such as C(login_host) and C(login_port).
      - Its databases must hold a C(*), or O(database). Without this, runs are direct only.
    type: dict
    default: {}
  state_directory:
    description: Directory in which the history is kept.
    type: path
    default: /var/lib/dbkeeper/report
seealso:
  - module: dbkeeper.ops.fleet_report
"""

EXAMPLES = r"""
- name: See how fast reading is, directly and through the pooler
  dbkeeper.ops.pg_benchmark:
    login_unix_socket: /var/run/postgresql
    login_user: postgres
    bin_directory: /usr/lib/postgresql/17/bin
    workloads: [read_only]
    pooler:
      login_unix_socket: ""
      login_host: 127.0.0.1
      login_port: 6432
"""

RETURN = r"""
node:
  description: The instance that was asked.
  returned: success
  type: dict
  sample: {system_id: "7445", role: primary, server_version_num: 150018, port: 5432}
plan:
  description: What was run, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [read_only direct 4]
facts:
  description:
    - C(runs), the newest first. Each has C(workload), C(way), C(clients), C(scale), C(tps), C(latency_seconds),
      C(failed), C(settings), C(host), C(made_at); or C(error) where it could not be run.
  returned: success
  type: dict
  sample:
    runs:
      - {workload: read_only, way: direct, clients: 4, scale: 10, tps: 41234.5, latency_seconds: 0.000097, failed: 0}
findings:
  description: Always empty.
  returned: success
  type: list
  elements: dict
  sample: []
not_seen:
  description: Always empty.
  returned: success
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.report.benchmark.operation import benchmark
from ..module_utils._engine.report.benchmark.plan import WORKLOADS, BenchmarkRequest
from ..module_utils._module import CONNECTION_OPTIONS, serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "workloads": {"type": "list", "elements": "str", "choices": list(WORKLOADS), "default": []},
            "bin_directory": {"type": "path"},
            "database": {"type": "str", "default": "dbkeeper_benchmark"},
            "scale": {"type": "int", "default": 10},
            "seconds": {"type": "int", "default": 10},
            "clients": {"type": "int", "default": 4},
            "many_clients": {"type": "int", "default": 50},
            "pooler": {"type": "dict", "default": {}},
            "state_directory": {"type": "path", "default": "/var/lib/dbkeeper/report"},
        },
        supports_check_mode=True,
    )
    given = module.params

    def operation() -> dict[str, object]:
        return benchmark(
            BenchmarkRequest(
                login={name: given[name] for name in CONNECTION_OPTIONS},
                bin_directory=given["bin_directory"] or "",
                database=given["database"],
                workloads=tuple(given["workloads"]),
                pooler=given["pooler"],
                state_directory=given["state_directory"],
                check=module.check_mode,
                **{name: given[name] for name in ("scale", "seconds", "clients", "many_clients")},
            )
        )

    serve(module, operation)


if __name__ == "__main__":
    main()
