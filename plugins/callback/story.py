# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line for each task with its seconds: output for people who watch, in place of blocks for each host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: story
type: stdout
short_description: One line for each task, with its seconds
version_added: 0.1.0
author:
  - dbkeeper.ops contributors
description:
  - Shows a play as a heading and each task as one line with the seconds that it took.
  - Messages of M(ansible.builtin.debug) are shown as plain text. Failures are shown as by the default callback.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as the stdout callback in the configuration
"""

import time
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

_QUIET = ("ansible.builtin.set_fact", "ansible.builtin.assert", "ansible.builtin.include_tasks")


class CallbackModule(Default):
    """See the documentation."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "dbkeeper.ops.story"

    def __init__(self) -> None:
        super().__init__()
        self._began: dict[str, float] = {}

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._display.display(f"\n{play.get_name()}", color="bright blue")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._last_task_name = None
        self._began[task._uuid] = time.monotonic()

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Files that are included are no news."""

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A task is told when it has ended."""

    def v2_runner_on_skipped(self, result: Any) -> None:
        """What is skipped is no news."""

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Items are part of their task."""

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Items are part of their task."""

    def v2_runner_retry(self, result: Any) -> None:
        """That something is waited for is no failure."""

    def v2_runner_on_ok(self, result: Any) -> None:
        task = result._task
        if task.action in ("ansible.builtin.debug", "debug"):
            message = result._result.get("msg", "")
            for line in message if isinstance(message, list) else [message]:
                self._display.display(f"  {line}")
            return
        if task.action in _QUIET and self._display.verbosity == 0:
            return
        seconds = time.monotonic() - self._began.get(task._uuid, time.monotonic())
        self._display.display(f"{seconds:7.1f} s  {task.get_name().strip()}")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The last task tells the end; only what went wrong is counted."""
        for host in sorted(stats.processed):
            failed = stats.summarize(host)
            if failed["failures"] or failed["unreachable"]:
                self._display.display(f"{host}: failed", color="red")
