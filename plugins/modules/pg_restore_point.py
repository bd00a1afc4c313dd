#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks a moment that can be restored by name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore_point
short_description: Mark a moment that can be restored by name
version_added: 0.1.0
author:
  - dbkeeper.ops contributors
description:
  - Writes a named restore point into the WAL, before a migration for example.
  - It can be restored once the segment that holds it is archived, which O(archive) makes happen at once.
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
      - PostgreSQL keeps no list of restore points, and two of one name can be told apart by time or LSN only.
options:
  name:
    description: Name of the restore point, 1 to 63 bytes.
    type: str
    required: true
  archive:
    description: Whether the server is told to finish the segment, so that it is archived now.
    type: bool
    default: true
notes:
  - Needs a superuser, or a role that may run C(pg_create_restore_point) and C(pg_switch_wal).
seealso:
  - module: dbkeeper.ops.pg_pitr
"""

EXAMPLES = r"""
- name: Mark the moment before the migration
  dbkeeper.ops.pg_restore_point:
    name: before-migration-42
  become: true
  become_user: postgres
"""

RETURN = r"""
name:
  description: Name of the restore point.
  returned: success
  type: str
  sample: before-migration-42
lsn:
  description: Where it is in the WAL. Empty in check mode.
  returned: success
  type: str
  sample: 0/3000148
executed:
  description: False in check mode.
  returned: success
  type: bool
  sample: true
plan:
  description: The SQL that was run, or would be run in check mode.
  returned: success
  type: list
  elements: str
  sample: ["SELECT pg_create_restore_point('before-migration-42')", "SELECT pg_switch_wal()"]
"""
