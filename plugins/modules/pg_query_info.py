#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports which statements cost what, and which got worse."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_query_info
short_description: Which statements cost what, and which got worse since the last run
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Reads C(pg_stat_statements) once, without texts, and compares it with the reading of an earlier run.
  - Nothing in the server is changed and no statistics are ever reset. The columns are chosen by the version of the
    extension, which may be older than the server.
  - What could not be read is named in RV(not_seen); the report is made all the same.
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
      - The readings are stored at every run. RV(ignore:changed) says that a finding is new, worse or gone.
options:
  text:
    description:
      - How much of a statement's text is shown and kept.
      - V(none) shows a fingerprint only. V(normalised) shows it without comments and values, with lists collapsed.
        V(sample) shows it as the server has it, which may hold values.
      - Of utility statements never more is shown than their keywords, since they hold passwords.
    type: str
    choices: [none, normalised, sample]
    default: normalised
  text_length:
    description: How many characters of a text are shown.
    type: int
    default: 2000
  top:
    description: How many statements each ranking lists.
    type: int
    default: 20
  plans:
    description:
      - Of how many of the statements that took most time the generic plan is asked for. Nothing is executed.
      - Needs PostgreSQL 16, and the right to read the tables.
    type: int
    default: 0
  min_window:
    description: Seconds that a window must last before the next one may begin.
    type: int
    default: 600
seealso:
  - module: dbkeeper.ops.pg_health_info
"""

EXAMPLES = r"""
- name: See what the server spends its time on
  dbkeeper.ops.pg_query_info:
    login_unix_socket: /var/run/postgresql
    login_user: report
  register: queries

- name: Say what got worse
  ansible.builtin.debug:
    var: queries.facts.regressions
"""

RETURN = r"""
node:
  description: The instance that was asked.
  returned: success
  type: dict
  sample: {system_id: "7445", role: primary, server_version_num: 150018, port: 5432}
databases:
  description: Databases that statements ran in, most load first.
  returned: success
  type: list
  elements: str
  sample: [shop]
findings:
  description: Findings of the classes QY01 to QY16, worst first.
  returned: success
  type: list
  elements: dict
  sample:
    - {id: qy02-0123456789ab, class: QY02, severity: high, grade: measured, database: shop, state: new}
not_seen:
  description: What could not be read, why, and what to do about it.
  returned: success
  type: list
  elements: dict
  sample: []
facts:
  description:
    - C(window), C(time) (where it went), C(statements) with C(top) (rankings by C(total), C(mean), C(calls),
      C(rows_per_call), C(read), C(dirtied), C(io), C(temp), C(wal), C(planning), C(jit), C(variance), C(parallel)),
      C(by_database), C(by_user), C(since_reset), C(regressions), C(new), C(coverage_share), C(extension), C(history).
    - Empty where the extension cannot be read.
  returned: success
  type: dict
  sample: {time: {total_ms: 812.5, sessions: 0.2}, regressions: []}
cost:
  description: What the report has cost.
  returned: success
  type: dict
  sample: {server_seconds: 0.02, temp_bytes: null, seconds: 0.1}
baseline:
  description: Where the reading is stored, whether it was, and how many runs are kept.
  returned: success
  type: dict
  sample: {file: /var/lib/dbkeeper/report/7445/baseline.json.gz, stored: true, runs: 3}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.report.query.operation import query_report
from ..module_utils._engine.report.query.request import QueryRequest
from ..module_utils._engine.report.query.text import LEVELS
from ..module_utils._module import CONNECTION_OPTIONS, REPORT_OPTIONS, connection_options, serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            **REPORT_OPTIONS,
            "text": {"type": "str", "choices": list(LEVELS), "default": "normalised"},
            "text_length": {"type": "int", "default": 2000},
            "top": {"type": "int", "default": 20},
            "plans": {"type": "int", "default": 0},
            "min_window": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    given = module.params
    request = QueryRequest(
        state_directory=given["state_directory"],
        text=given["text"],
        text_length=given["text_length"],
        top=given["top"],
        plans=given["plans"],
        min_window_seconds=given["min_window"],
        budget_seconds=given["time_budget"],
        accepted=given["accepted"],
        check=module.check_mode,
    )
    serve(module, lambda: query_report(connection_options(given, None), request))


if __name__ == "__main__":
    main()
