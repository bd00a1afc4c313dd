# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How modules are told what to look for on a host."""

from __future__ import annotations


class ModuleDocFragment:
    """The option that names things which may be there."""

    DOCUMENTATION = r"""
options:
  look_for:
    description:
      - What to look for. Names of what is not there are returned as RV(missing).
      - Each item has exactly one of O(look_for[].path), O(look_for[].program), O(look_for[].library) and
        O(look_for[].user).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name that it is reported under, for example that of the package which brings it.
        type: str
        required: true
      path:
        description: A file, a directory or a link.
        type: path
      program:
        description: A program on the search path of the system.
        type: str
      library:
        description: A library of the Python that runs the module.
        type: str
      user:
        description: A user of the operating system.
        type: str
      content:
        description: What the file O(look_for[].path) has to contain. It must belong to root then.
        type: str
      mode:
        description: Permissions of a file with O(look_for[].content).
        type: str
        default: "0644"
"""
