# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the modules that report on a server have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of the baseline and of gentleness."""

    DOCUMENTATION = r"""
options:
  state_directory:
    description:
      - Directory for what the next run compares with, one file for each system identifier, mode 0600.
      - It must be writable by the user that the module runs as. Where it is not, the report is made all the same.
    type: path
    default: /var/lib/dbkeeper/report
  time_budget:
    description: Seconds after which nothing more is asked. What was not asked is named in RV(ignore:not_seen).
    type: int
    default: 60
  accepted:
    description: Findings that somebody takes the responsibility for.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The finding's id.
        type: str
        required: true
      owner:
        description: Who takes it.
        type: str
      reason:
        description: Why.
        type: str
      until:
        description: The last day of it, as in V(2027-03-31). Forever, if not set.
        type: str
notes:
  - A role with C(pg_monitor) sees all that is asked for, unless said otherwise. Nothing is written in the server, a
    locked object is waited for 100 ms at most.
"""
