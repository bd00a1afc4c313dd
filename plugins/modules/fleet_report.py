#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents the action of the same name; nothing of it runs on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: One report of many hosts, as a page, JSON, Markdown and JUnit
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Joins what M(dbkeeper.ops.pg_index_info), M(dbkeeper.ops.pg_query_info) and M(dbkeeper.ops.pg_health_info) said of
    each host into one report. Nodes of one system identifier are one cluster.
  - Runs on the controller alone. Hosts that could not be reached, or refused, are in the report with the reason.
  - Writes C(report.html), one file that needs no server and no network, in English and Japanese;
    C(report.json), whose schema is C(docs/report.schema.json); C(report.md) for a merge request;
    C(report.junit.xml) for a CI server.
  - Fails only when an option is wrong; RV(gate.passed) says whether the report breaks a rule of O(fail_on).
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Makes the report and writes nothing.
  diff_mode:
    support: N/A
  idempotent:
    support: full
    details:
      - The files are written every time. RV(ignore:changed) says that a finding, its severity or what could not be
        seen is another one than in the report that was there.
options:
  hosts:
    description:
      - The hosts, by their names in the inventory.
      - Without any, only O(fail_on) is checked, so that a wrong rule is found before hosts are read.
    type: list
    elements: str
  directory:
    description: Where the files go, on the controller. Made when missing. Needed with O(hosts).
    type: path
  registered:
    description:
      - In which variable of each host a module's result was registered, by what it reports.
      - What was registered as C(reached) says whether the host was reached at all.
      - The inventory's C(postgresql_primary) and C(report_cluster) say where a host belongs that cannot be read.
      - Indexes of clusters whose hosts have the same C(report_role) (shards, stages) are compared with each other.
    type: dict
    default:
      reached: __report_reached
      index: __report_index
      query: __report_query
      health: __report_health
      benchmark: __report_benchmark
  language:
    description:
      - The language of Markdown and JUnit, and the one in which the page opens.
      - With V(auto) these are English, and the page opens in the language of its reader's browser.
    type: str
    choices: [auto, en, ja]
    default: auto
  title:
    description: What the report is called. Empty means "PostgreSQL report".
    type: str
    default: ""
  fail_on:
    description:
      - Rules that close the gate. A severity (C(critical), C(high), C(medium), C(low)) is broken by findings of it and
        of worse ones. A class such as C(IX07), or a name for one (C(invalid_index), C(duplicate_index),
        C(redundant_index), C(unused_index), C(bloated_index), C(unindexed_fk), C(missing_index), C(index_drift),
        C(collation_mismatch), C(regression), C(plan_change)), by each finding of it.
      - With C(new_) before it, a rule is broken by new findings only. C(new) alone is broken by any new finding.
      - C(expired) is broken by a finding whose acceptance is over, C(not_seen) by anything that could not be read,
        C(unreachable) by a host that could not be.
      - Accepted findings break no rule, nor do those whose evidence is insufficient.
    type: list
    elements: str
    default: []
  accepted:
    description:
      - Findings that are accepted, each with C(id), C(owner), C(reason) and C(until) (a date; its day still counts).
      - An accepted finding is shown as such until that day, and comes back afterwards.
    type: list
    elements: dict
    default: []
seealso:
  - module: dbkeeper.ops.pg_backup_info
"""

EXAMPLES = r"""
- name: Make one report of all hosts
  dbkeeper.ops.fleet_report:
    hosts: "{{ ansible_play_hosts_all }}"
    directory: report
    fail_on: [critical, new_unindexed_fk, regression]
    accepted:
      - id: ix04-0123456789ab
        owner: ops@example.com
        reason: The year-end run needs it.
        until: "2027-01-31"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
files:
  description: The files that were written, or would be in check mode, by their names.
  returned: when O(hosts) are given
  type: dict
  sample: {report.html: /home/ops/report/report.html}
summary:
  description: How many clusters, nodes and findings there are.
  returned: when O(hosts) are given
  type: dict
  sample: {clusters: 3, nodes: 9, nodes_seen: 9, findings: 41, new: 2, accepted: 1}
gate:
  description: The rules, whether they are kept, and what breaks them.
  returned: success
  type: dict
  contains:
    fail_on:
      description: The rules.
      returned: success
      type: list
      elements: str
      sample: [critical]
    passed:
      description: Whether nothing breaks them.
      returned: when O(hosts) are given
      type: bool
      sample: true
    failures:
      description: What breaks them.
      returned: when O(hosts) are given
      type: list
      elements: dict
      sample: []
not_seen:
  description: What could not be read.
  returned: when O(hosts) are given
  type: list
  elements: dict
  sample: []
lines:
  description: The report in a few lines.
  returned: when O(hosts) are given
  type: list
  elements: str
  sample: ["41 open findings: 1 high, 40 low"]
"""
