# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One exception for everything that can go wrong, in the four parts a person needs.

A message without a remedy is half a message: every error names what was attempted,
what happened (in the server's or the tool's own words) and what to do next.
"""

from __future__ import annotations

from typing import Any

EXIT_DONE = 0
EXIT_REFUSED = 2
EXIT_FAILED = 3


class KeeperError(Exception):
    """An operation that did not end well.

    ``code`` is a stable slug (``segment-missing``) that programs may match; ``details`` holds JSON
    values only and never a secret. Raise :class:`Refused` or :class:`Failed`, never this class.
    """

    exit_status = EXIT_FAILED

    def __init__(
        self,
        code: str,
        *,
        attempted: str,
        happened: str,
        remedy: str,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{attempted}: {happened}")
        self.code = code
        self.attempted = attempted
        self.happened = happened
        self.remedy = remedy
        self.details: dict[str, Any] = details or {}

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON data, the same from every door."""
        return {
            "code": self.code,
            "attempted": self.attempted,
            "happened": self.happened,
            "remedy": self.remedy,
            "details": self.details,
            "touched": self.exit_status == EXIT_FAILED,
        }

    def to_text(self) -> str:
        """The error for a terminal, one part a line."""
        return (
            f"{self.code}\n"
            f"  attempted: {self.attempted}\n"
            f"  happened:  {self.happened}\n"
            f"  remedy:    {self.remedy}"
        )


def unexpected(error: OSError, attempted: str) -> KeeperError:
    """What the operating system refused and nobody foresaw, in the four parts all the same."""
    where = f"{error.filename}: " if error.filename else ""
    return Failed(
        "system-error",
        attempted=attempted,
        happened=f"{where}{error.strerror or error}",
        remedy="See what the operating system says of that file or device, then run the same command again.",
        details={"errno": error.errno, "path": str(error.filename) if error.filename else None},
    )


class Refused(KeeperError):
    """Nothing was touched: the request, the state or the proof does not allow the operation."""

    exit_status = EXIT_REFUSED


class Failed(KeeperError):
    """Something went wrong on the way; ``happened`` and ``details`` say what state was left."""

    exit_status = EXIT_FAILED
