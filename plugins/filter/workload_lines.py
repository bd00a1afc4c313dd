# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that tells what came out of workload tests."""

from __future__ import annotations

DOCUMENTATION = r"""
name: workload_lines
short_description: What came out of workload tests, in a line each
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Takes runs as M(dbkeeper.ops.pg_benchmark) returns them, and says of each what was measured, or why it could not be,
    and what to do.
positional: language
options:
  _input:
    description: Runs, as in RV(dbkeeper.ops.pg_benchmark#module:facts).
    type: list
    elements: dict
    required: true
  language:
    description: The language of the lines. V(auto) is English, as in the lines of the report.
    type: str
    choices: [auto, en, ja]
    default: auto
"""

EXAMPLES = r"""
- name: Say what came out
  ansible.builtin.debug:
    msg: "{{ tested.facts.runs | dbkeeper.ops.workload_lines('ja') }}"
"""

RETURN = r"""
_value:
  description: The lines, in the order of the runs.
  type: list
  elements: str
  sample: ["read only, direct, clients: 4: 12,345 transactions per second, 0.324 ms each, failed: 0"]
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..plugin_utils.report.workloads import workload_lines

_LANGUAGES = ("auto", "en", "ja")


def _filter(runs: list[dict[str, Any]], language: str = "auto") -> list[str]:
    if language not in _LANGUAGES:
        raise AnsibleFilterError(
            f"workload_lines: the language is one of {', '.join(_LANGUAGES)}, not {language}"
        )
    return workload_lines(runs, str(language))


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"workload_lines": _filter}
