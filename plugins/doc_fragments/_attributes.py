# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What modules say of check mode, diff mode and idempotence."""

from __future__ import annotations


class ModuleDocFragment:
    """The shared attributes."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what it would do.
  diff_mode:
    description: Shows what changes in diff mode.
  idempotent:
    description: A second run with the same options changes nothing.
"""

    # Modules of the action group dbkeeper.ops.all.
    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/dbkeeper.ops.all) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - dbkeeper.ops.all
"""

    # Modules that only read.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would do.
    details:
      - Changes nothing in any mode.
  diff_mode:
    support: N/A
    description: Shows what changes in diff mode.
  idempotent:
    support: full
    description: A second run with the same options changes nothing.
"""
