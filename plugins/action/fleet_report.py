# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Makes the report of all hosts out of what was registered for each; everything happens on the controller."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._engine.core.errors import KeeperError
from ..plugin_utils.report.gate import checked
from ..plugin_utils.report.hosts import REPORTS, Host
from ..plugin_utils.report.operation import REGISTERED, make, plain

_OPTIONS: dict[str, dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "str"},
    "directory": {"type": "path"},
    "registered": {"type": "dict", "default": REGISTERED},
    "language": {"type": "str", "default": "auto", "choices": ["auto", "en", "ja"]},
    "title": {"type": "str", "default": ""},
    "fail_on": {"type": "list", "elements": "str", "default": []},
    "accepted": {"type": "list", "elements": "dict", "default": []},
}


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        dummy, options = self.validate_argument_spec(_OPTIONS, required_together=[("hosts", "directory")])
        variables = task_vars or {}
        try:
            if not options["hosts"]:
                return {**result, "changed": False, "gate": {"fail_on": checked(options["fail_on"])}}
            hosts = [
                _host(name, variables["hostvars"].raw_get(name), options["registered"])
                for name in options["hosts"]
            ]
            made = make(
                hosts,
                Path(self._loader.path_dwim(options["directory"])),
                language=options["language"],
                title=options["title"],
                fail_on=options["fail_on"],
                accepted=plain(options["accepted"]),
                now=datetime.now().astimezone(),
                keep=not self._task.check_mode,
            )
        except KeeperError as error:
            raise AnsibleActionFail(f"{error.attempted}: {error.happened}. {error.remedy}") from error
        return {**result, **made}


def _host(name: str, variables: Mapping[str, Any], registered: Mapping[str, str]) -> Host:
    """What was registered for a host. A report that was never registered was not asked for."""
    answers = {report: variables.get(variable) for report, variable in registered.items()}
    reached = answers.pop("reached", None) or {}
    if reached.get("unreachable"):
        results = dict.fromkeys(REPORTS, plain(reached))
    else:
        results = {report: plain(answer) for report, answer in answers.items() if _asked(answer)}
    primary = str(variables.get("postgresql_primary") or "")
    return Host(
        name,
        results,
        "" if primary == name else primary,
        str(variables.get("report_cluster") or ""),
        str(variables.get("report_role") or ""),
    )


def _asked(answer: Any) -> bool:
    return isinstance(answer, Mapping) and not answer.get("skipped")
