# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Running programs: argument lists only, C locale, UTC, a deadline, and errors in the tool's words."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import Failed
from .privilege import Owner, as_root, real_owner

_TAIL = 2000


@dataclass(frozen=True)
class Completed:
    """What a program left behind."""

    argv: tuple[str, ...]
    status: int
    out: str
    err: str


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment with everything that changes what tools print taken out.

    PG* variables are dropped: where an instance is comes from its configuration, never from the shell.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LD_", "PYTHON")) and name not in ("LANG", "LANGUAGE", "TZ")
    }
    environment.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    environment.update(LANG="C.UTF-8", LC_ALL="C.UTF-8", LC_MESSAGES="C", LANGUAGE="C", TZ="UTC")
    environment.update(extra or {})
    return environment


def _environment(extra: Mapping[str, str] | None, owner: Owner | None) -> dict[str, str]:
    """Programs find certificates and passwords at home, and root's home is closed to whom we have become."""
    home = {"HOME": pwd.getpwuid(owner.uid).pw_dir} if owner else {}
    return clean_environment({**home, **(extra or {})})


def start(
    argv: Sequence[str],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    privileged: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program as the owner of the cluster (or as root for service control) in a group of its own."""
    # Not even for a moment root for an ordinary program: other threads would be root meanwhile. The effective
    # user may make itself the real one, and the groups are the owner's already.
    owner = None if privileged else real_owner()
    with as_root(when=privileged):
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=_environment(env, owner),
            cwd=cwd or "/",
            start_new_session=True,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
        )


def stop_group(process: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """End a program started by :func:`start` together with its children; ask first, then kill."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            try:
                os.killpg(process.pid, number)
            except PermissionError:
                with as_root():
                    os.killpg(process.pid, number)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
        return


def run(
    argv: Sequence[str],
    *,
    attempted: str,
    remedy: str = "Read the tool's words above; the command can be run by hand.",
    timeout: float = 60.0,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    accept: Sequence[int] = (0,),
    privileged: bool = False,
) -> Completed:
    """Run a program to its end.

    ``timeout`` is in seconds. Raises :class:`Failed` with code ``program-missing``, ``program-timeout``
    or ``program-failed`` (status not in ``accept``). Secrets go into ``env`` or ``stdin``, never ``argv``.
    """
    try:
        process = start(
            argv,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            env=env,
            cwd=cwd,
            privileged=privileged,
        )
    except OSError as error:
        raise Failed(
            "program-missing",
            attempted=attempted,
            happened=f"{argv[0]} cannot be started: {error.strerror}",
            remedy="Install the package that holds the program, or correct its path in the configuration.",
        ) from error
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        stop_group(process)
        raise Failed(
            "program-timeout",
            attempted=attempted,
            happened=f"{argv[0]} did not end within {timeout:g} s and was stopped",
            remedy=remedy,
        ) from error
    except BaseException:
        stop_group(process)
        raise
    done = Completed(
        tuple(argv), process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
    )
    if done.status not in accept:
        words = (done.err.strip() or done.out.strip())[-_TAIL:]
        raise Failed(
            "program-failed",
            attempted=attempted,
            happened=f"{argv[0]} ended with status {done.status}: {words or 'no message'}",
            remedy=remedy,
            details={"status": done.status, "argv": list(argv)},
        )
    return done
