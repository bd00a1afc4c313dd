# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says of a playbook what a person watching it wants to know: each play, what it changed, what it said, how long."""

from __future__ import annotations

DOCUMENTATION = r"""
name: story
type: stdout
short_description: Each play in a few lines
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Shows the name of each play, the tasks that changed something with the seconds that they took, messages as
    plain lines, and how long the play took. Tasks that changed nothing, that were skipped, or that wait for
    something are not shown.
  - A failure shows its message, and the lines of its card where it has one.
  - With C(-v) every task is shown, with C(-vv) with its result.
requirements:
  - set as the stdout callback in the configuration, or by the environment variable E(ANSIBLE_STDOUT_CALLBACK)
"""

import time
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

_INDENT = "   "
_SLOW_SECONDS = 1.0
_MESSAGE = ("debug", "ansible.builtin.debug")
_OUTPUTS = ("module_stderr", "module_stdout", "stderr", "stdout")


class CallbackModule(CallbackBase):
    """See the documentation."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "dbkeeper.ops.story"

    def __init__(self) -> None:
        super().__init__()
        self._hosts: set[str] = set()
        self._play_begun: float | None = None
        self._task_begun = 0.0

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._end_play()
        self._play_begun = time.monotonic()
        mode = " (check mode)" if play.check_mode else ""
        self._display.display(f"\n{play.get_name().strip()}{mode}", color=constants.COLOR_HIGHLIGHT)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._task_begun = time.monotonic()

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._task_begun = time.monotonic()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._hosts.add(host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._warn(result)
        name = result.task.get_name().strip()
        if result.task.action in _MESSAGE and "results" not in result.result:
            self._say(result, result.result.get("msg", ""))
        elif result.result.get("changed"):
            spent = time.monotonic() - self._task_begun
            slow = f" ({spent:.0f} s)" if spent >= _SLOW_SECONDS else ""
            self._line(result, f"+ {name}{slow}", constants.COLOR_CHANGED)
        elif self._display.verbosity > 0:
            self._line(result, f"= {name}", constants.COLOR_OK)
        if self._display.verbosity > 1:
            self._display.display(self._dump_results(result.result))

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if result.task.action in _MESSAGE:
            self._say(result, result.result.get("msg", ""))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._warn(result)
        if ignore_errors and self._display.verbosity == 0:
            return
        self._line(result, f"FAILED: {result.task.get_name().strip()}", constants.COLOR_ERROR)
        if "results" not in result.result:
            self._explain(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._warn(result)
        self._line(result, f"failed: {self._get_item_label(result.result)}", constants.COLOR_ERROR)
        self._explain(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._line(result, f"UNREACHABLE: {result.result.get('msg', '')}", constants.COLOR_UNREACHABLE)

    def v2_on_file_diff(self, result: Any) -> None:
        for item in result.result.get("results") or [result.result]:
            if item.get("changed") and item.get("diff"):
                self._display.display(self._get_diff(item["diff"]))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._end_play()
        self._display.display("")
        for host in sorted(stats.processed):
            counts = stats.summarize(host)
            bad = counts["failures"] or counts["unreachable"]
            if bad or len(self._hosts) > 1:
                self._display.display(
                    f"{host}: {counts['ok']} tasks done, {counts['changed']} changed something,"
                    f" {counts['failures']} failed, {counts['unreachable']} times unreachable",
                    color=constants.COLOR_ERROR if bad else constants.COLOR_OK,
                )

    def _end_play(self) -> None:
        if self._play_begun is not None:
            spent = time.monotonic() - self._play_begun
            self._display.display(f"{_INDENT}{spent:.1f} s", color=constants.COLOR_VERBOSE)
        self._play_begun = None

    def _warn(self, result: Any) -> None:
        """Warnings always; where in the code an error came from only for those who ask."""
        if self._display.verbosity > 0:
            self._handle_warnings_and_exception(result)
        else:
            self._handle_warnings(result.result)

    def _explain(self, result: Any) -> None:
        """What is known of a failure. A card says it better than the message."""
        found = result.result
        self._say(result, found.get("card") or found.get("msg") or "", constants.COLOR_ERROR)
        for name in _OUTPUTS:
            if found.get(name) and not found.get("card"):
                self._say(result, str(found[name]).splitlines()[-20:], constants.COLOR_ERROR)

    def _say(self, result: Any, said: Any, color: str | None = None) -> None:
        for line in said if isinstance(said, list) else str(said).splitlines():
            self._line(result, str(line), color)

    def _line(self, result: Any, text: str, color: str | None) -> None:
        host = f"{result.host.get_name()}: " if len(self._hosts) > 1 else ""
        self._display.display(f"{_INDENT}{host}{text}", color=color)
