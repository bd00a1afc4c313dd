# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Has the host say what it needs, signs it with the authority in the controller's store, and brings it back."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._engine.core.errors import KeeperError
from ..plugin_utils._authority import Authority
from ..plugin_utils._secrets import Store


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """One question to the host when there is nothing to do, two when something has to be signed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        names = [str(name) for name in arguments.get("names") or []]
        if arguments.get("source", "generated") != "generated" or not arguments.get("store") or not names:
            # Nothing to sign, or something is missing: the module says what.
            return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}
        store = Store(
            str(arguments["store"]),
            self._loader.get_text_file_contents,
            keep=not self._task.check_mode,
        )
        try:
            authority = Authority(store)
            arguments["authority"] = authority.certificate()
            answer = self._execute_module(module_args=arguments, task_vars=task_vars)
            if answer.get("failed") or not answer.get("request"):
                return {**result, **answer}
            arguments["signed"] = authority.sign(
                answer["request"],
                common_name=str(arguments.get("common_name") or names[0]),
                names=names,
                days=int(arguments.get("days") or 365),
                client=bool(arguments.get("common_name")),
            )
        except KeeperError as error:
            raise AnsibleActionFail(f"{error.attempted}: {error.happened}. {error.remedy}") from error
        placed = self._execute_module(module_args=arguments, task_vars=task_vars)
        if not placed.get("failed"):
            # What the first call has done was part of it.
            placed["plan"] = answer["plan"]
            if "diff" in answer and "diff" in placed:
                placed["diff"]["before"] = answer["diff"]["before"]
        return {**result, **placed}
