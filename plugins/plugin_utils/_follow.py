# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Runs a long module on its host, tells its progress line by line, and returns its result as if it had been
waited for.

The module runs under Ansible's own asynchronous wrapper, so it goes on when the controller's connection is
lost.
Controller only.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._engine.core.progress import describe

_JOB_KEYS = ("ansible_job_id", "finished", "started", "results_file")
_JOB_STREAMS = ("stdout", "stdout_lines", "stderr", "stderr_lines")
_LONGEST_RUN_SECONDS = 14 * 86400
_FIRST_WAIT_SECONDS = 0.3
_LONGEST_WAIT_SECONDS = 3.0
_RECONNECT_SECONDS = 300.0


class FollowedAction(ActionBase):
    """An action whose module writes progress to the state directory of the cluster given as ``cluster`` or
    ``config``."""

    TRANSFERS_FILES = False
    _supports_async = True
    # Whether asking first what there is to do is cheap: then nothing is started when there is nothing.
    asks_first = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if self._task.check_mode or self._task.async_val:
            module_result = self._execute_module(task_vars=variables, wrap_async=self._task.async_val)
        else:
            module_result = self._nothing_to_do(variables) or self._followed(variables)
        return {**result, **module_result}

    def _nothing_to_do(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        """The answer of check mode where that is all: no change. What is refused is begun all the same: that run is
        refused, too, and it is one that the history on the host keeps."""
        if not self.asks_first:
            return None
        self._task.check_mode = True
        try:
            answer: dict[str, Any] = self._execute_module(task_vars=variables)
        finally:
            self._task.check_mode = False
        return None if answer.get("changed") or answer.get("failed") else answer

    def _followed(self, variables: dict[str, Any]) -> dict[str, Any]:
        job = self._start(variables)
        name = job.get("ansible_job_id")
        if job.get("failed") or not name:
            return job
        try:
            return self._wait(str(name), variables)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _start(self, variables: dict[str, Any]) -> dict[str, Any]:
        self._task.async_val = _LONGEST_RUN_SECONDS
        try:
            job: dict[str, Any] = self._execute_module(task_vars=variables, wrap_async=True)
        finally:
            self._task.async_val = 0
        return job

    def _wait(self, job: str, variables: dict[str, Any]) -> dict[str, Any]:
        shown = ""
        wait = _FIRST_WAIT_SECONDS
        lost_since: float | None = None
        while True:
            time.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)
            try:
                answer = self._job(job, "status", variables)
                if answer.get("finished"):
                    self._job(job, "cleanup", variables)
                    return {
                        key: value for key, value in answer.items() if key not in _JOB_KEYS + _JOB_STREAMS
                    }
                shown = self._show(shown, variables)
                lost_since = None
            except AnsibleConnectionFailure as error:
                lost_since = self._reconnect(error, lost_since)

    def _job(self, job: str, mode: str, variables: dict[str, Any]) -> dict[str, Any]:
        directory = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        answer: dict[str, Any] = self._execute_module(
            module_name="ansible.legacy.async_status",
            module_args={"jid": job, "mode": mode, "_async_dir": directory},
            task_vars=variables,
        )
        return answer

    def _show(self, shown: str, variables: dict[str, Any]) -> str:
        chosen = {name: self._task.args[name] for name in ("cluster", "config") if name in self._task.args}
        answer = self._execute_module(
            module_name="dbkeeper.ops.pg_progress_info", module_args=chosen, task_vars=variables
        )
        record = answer.get("progress") or {}
        if record.get("state") != "running":
            return shown
        line = describe(record)
        if line != shown:
            Display().display(f"{variables.get('inventory_hostname', 'host')}: {line}")
        return line

    def _reconnect(self, error: AnsibleConnectionFailure, lost_since: float | None) -> float:
        """The work goes on without us: say so, and try for a while."""
        now = time.monotonic()
        if lost_since is None:
            Display().warning(f"Connection lost, the operation goes on: {error}")
            lost_since = now
        if now - lost_since > _RECONNECT_SECONDS:
            raise error
        self._connection.reset()
        return lost_since
