#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports what is about to break."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_health_info
short_description: What of a server is about to break
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Looks at connections, blocked sessions by their root, idle and long transactions, standbys, slots, archiving,
    transaction numbers, dead rows, bloat, sequences, temporary files, checkpoints, checksums, invalid objects, disks,
    the certificate and settings. With O(cluster) or O(config) the keeper's own check of backups is part of it.
  - Each finding has its value, the threshold, where that comes from, and since when it is known.
  - Nothing in the server is changed. What could not be seen is named in RV(not_seen).
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._connection
  - dbkeeper.ops._report
attributes:
  check_mode:
    support: full
    details:
      - Makes the report and stores nothing.
  diff_mode:
    support: N/A
  idempotent:
    support: full
    details:
      - Counters are stored at every run. RV(ignore:changed) says that a finding is new, worse or gone.
options:
  profile:
    description: Which thresholds are held against.
    type: str
    choices: [default, strict, relaxed]
    default: default
  thresholds:
    description:
      - Thresholds instead of those of the profile, by name, each with C(warning) and C(critical).
      - RV(facts) has all names with their values and sources in C(thresholds).
    type: dict
    default: {}
  databases:
    description: Databases to look into. All that can be entered, if empty.
    type: list
    elements: str
    default: []
  exact_bloat:
    description:
      - Whether bloat of large tables is measured by C(pgstattuple), where the extension is there.
      - That reads every page that is not known to be all visible.
    type: bool
    default: false
  min_window:
    description: Seconds that a window of counters must last before the next one may begin.
    type: int
    default: 600
  cluster:
    description: Name of the cluster, as the role P(dbkeeper.ops.backup#role) has registered it on the host.
    type: str
  config:
    description: File that describes the cluster, instead of O(cluster).
    type: path
notes:
  - With O(cluster) or O(config), run it as root or as the owner of the cluster.
  - Disks and the certificate are looked at where the server is on the same host.
seealso:
  - module: dbkeeper.ops.pg_query_info
"""

EXAMPLES = r"""
- name: See what is about to break
  dbkeeper.ops.pg_health_info:
    cluster: main
    thresholds:
      lag_seconds: {warning: 30, critical: 300}
  register: health

- name: Stop a release while something is critical
  ansible.builtin.assert:
    that: health.findings | selectattr('severity', 'equalto', 'critical') | list | length == 0
"""

RETURN = r"""
node:
  description: The instance that was asked.
  returned: success
  type: dict
  sample: {system_id: "7445", role: primary, server_version_num: 150018, port: 5432}
databases:
  description: Databases that were looked into.
  returned: success
  type: list
  elements: str
  sample: [postgres, shop]
findings:
  description: Findings of the classes HC01 to HC38, worst first.
  returned: success
  type: list
  elements: dict
  sample:
    - {id: hc22-0123456789ab, class: HC22, severity: medium, grade: measured, database: shop, state: new}
not_seen:
  description: What could not be read, why, and what to do about it.
  returned: success
  type: list
  elements: dict
  sample: []
facts:
  description:
    - C(sessions) by state, C(settings) that were set (what may be secret as a digest), C(capacity), C(standbys),
      C(slots), C(recovery), C(databases) with their ages, C(disks), C(certificate), C(keeper) with its checks,
      C(thresholds), C(window) and C(history).
  returned: success
  type: dict
  sample: {sessions: {active: 1, idle: 4}, standbys: [], settings: {work_mem: "4096"}}
cost:
  description: What the report has cost.
  returned: success
  type: dict
  sample: {server_seconds: 0.06, temp_bytes: null, seconds: 0.2}
baseline:
  description: Where the counters are stored, whether they were, and how many runs are kept.
  returned: success
  type: dict
  sample: {file: /var/lib/dbkeeper/report/7445/baseline.json.gz, stored: true, runs: 3}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.report.health.limits import PROFILES
from ..module_utils._engine.report.health.operation import health_report
from ..module_utils._engine.report.health.request import HealthRequest
from ..module_utils._module import (
    CONNECTION_OPTIONS,
    REPORT_OPTIONS,
    become_owner,
    connection_options,
    load_config,
    serve,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            **REPORT_OPTIONS,
            "profile": {"type": "str", "choices": list(PROFILES), "default": "default"},
            "thresholds": {"type": "dict", "default": {}},
            "databases": {"type": "list", "elements": "str", "default": []},
            "exact_bloat": {"type": "bool", "default": False},
            "min_window": {"type": "int", "default": 600},
            "cluster": {"type": "str"},
            "config": {"type": "path"},
        },
        mutually_exclusive=[("cluster", "config")],
        supports_check_mode=True,
    )
    given = module.params

    def operation() -> dict[str, object]:
        config = load_config(given) if given["cluster"] or given["config"] else None
        if config:
            become_owner(config)
        request = HealthRequest(
            state_directory=given["state_directory"],
            profile=given["profile"],
            thresholds=given["thresholds"],
            databases=given["databases"],
            exact_bloat=given["exact_bloat"],
            min_window_seconds=given["min_window"],
            budget_seconds=given["time_budget"],
            accepted=given["accepted"],
            check=module.check_mode,
        )
        return health_report(connection_options(given, config), request, config)

    serve(module, operation)


if __name__ == "__main__":
    main()
