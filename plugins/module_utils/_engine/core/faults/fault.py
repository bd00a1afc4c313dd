# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One way in which backup and recovery go wrong, and what is done about it today: data for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LANGUAGES = ("en", "ja")

#: A text in each of :data:`LANGUAGES`, in Markdown.
Words = tuple[str, str]

#: ``stopped``: an error with one of the codes, and nothing in use is harmed. ``handled``: the work is done all the
#: same, or the wrong choice cannot be made; codes are those of what is left over. ``partly``: so, but for what
#: ``missing`` says. ``open``: nothing is done about it.
Status = Literal["stopped", "handled", "partly", "open"]


@dataclass(frozen=True)
class Fault:
    """A fault by its ``id`` (A: target, B: archive and backup, C: host, D: on the way,
    E: a repository on another host, F: copies).

    ``codes`` are those of the errors that it ends in. ``answer`` is what dbkeeper does beyond raising them,
    ``remedy`` what a person does (None: nothing is to be done), ``missing`` what is not done yet.
    """

    id: str
    status: Status
    codes: tuple[str, ...]
    title: Words
    cause: Words
    answer: Words | None = None
    remedy: Words | None = None
    missing: Words | None = None
