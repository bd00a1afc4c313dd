# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A repository behind a real sshd on the loopback, run by an ordinary user, with the real forced command."""

from __future__ import annotations

import getpass
import os
import pwd
import shlex
import shutil
import socket
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .disk import SmallDisk
from .keeper import write_launcher
from .rough import ROUGH
from .sandbox import Sandbox
from .waiting import wait_for

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin") or "/usr/sbin/sshd"

_SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host_key
PidFile {root}/sshd.pid
AuthorizedKeysFile {root}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserRC no
MaxStartups 100
LogLevel VERBOSE
Subsystem sftp /usr/lib/openssh/sftp-server
"""


class Elsewhere:
    """Another host: below ``root`` are ``repository``, ``bin/dbkeeper``, keys and sshd's files."""

    def __init__(
        self, sandbox: Sandbox, name: str = "vault", cluster: str = "main", disk: SmallDisk | None = None
    ) -> None:
        """``disk`` holds the repository, which is then seen here at another path than at the door."""
        self.root = sandbox.root / name
        self.cluster = cluster
        self.place = (disk.mountpoint if disk else self.root) / "repository"
        self.repository = (disk.view if disk else self.root) / "repository"
        self.user = getpass.getuser()
        self.port = sandbox.ports.take()
        (self.root / "bin").mkdir(parents=True, mode=0o700)
        self.command = write_launcher(self.root / "bin")
        #: Put before the forced command: what a test wants around the door.
        self.around = f"{shlex.join(disk.enter)} " if disk else ""
        self._smooth = self.around
        for key in ("host_key", "append", "read", "stranger"):
            self._keygen(key)
        self._admitted: dict[str, str] = {}
        self.known_hosts = self.root / "known_hosts"
        public = (self.root / "host_key.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
        (self.root / "sshd_config").write_text(_SSHD_CONFIG.format(port=self.port, root=self.root))
        Repository(str(self.repository), cluster).create()
        self.admit("append", "append")
        self.admit("read", "read")

    @property
    def url(self) -> str:
        """As a configuration names it."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{self.place}"

    @property
    def archive(self) -> Path:
        """The cluster's directory in the repository."""
        return self.repository / self.cluster

    def config(self, key: str = "append") -> dict[str, Any]:
        """The keys of a cluster's description that lead here."""
        ssh = {"identity_file": str(self.root / key), "known_hosts_file": str(self.known_hosts)}
        return {"repository": self.url, "ssh": ssh}

    def admit(self, key: str, access: str, *, name: str | None = None) -> None:
        """Let a key in at the door."""
        words = [str(self.command), "door", "--root", str(self.place), "--cluster", self.cluster]
        public = " ".join((self.root / f"{key}.pub").read_text().split()[:2])
        words += [
            "--access",
            access,
            "--name",
            name or key,
            "--key",
            sha256(public.encode()).hexdigest()[:16],
        ]
        words += ["--keys", str(self.root / "authorized_keys")]
        self._admitted[key] = f'restrict,command="{self.around}{shlex.join(words)}" {public} {key}\n'
        self._write_admitted()

    def keep_out(self, key: str) -> None:
        """Take its line away."""
        del self._admitted[key]
        self._write_admitted()

    def _write_admitted(self) -> None:
        """At once, as the module does: a door that looks meanwhile sees the one or the other."""
        new = self.root / "authorized_keys.new"
        new.write_text("".join(self._admitted.values()))
        new.rename(self.root / "authorized_keys")

    def delay(self, seconds: float) -> None:
        """Every answer of the door comes so much later: what is on its way is on its way at the same time."""
        self._put_around("delayed", _DELAY, str(seconds))

    def roughen(self, most_bytes: int) -> Path:
        """From now on the way does what the first word of a file says (the file is returned, and empty).

        ``cut``: when so many bytes have come back, sshd's connection is killed and the word is taken out of the file;
        ``shut``: nobody comes in; ``hold``: after so many bytes nothing more goes there until the word is gone.
        """
        state = self.root / "way"
        state.write_text("")
        self._put_around("rough", ROUGH, str(state), str(most_bytes), str(self.sshd.pid))
        return state

    def smooth(self) -> None:
        """The way is what it was before."""
        self._lead(self._smooth)

    def _put_around(self, name: str, program: str, *argv: str) -> None:
        script = self.root / "bin" / name
        script.write_text(program)
        self._lead(f"/usr/bin/python3 {shlex.join([str(script), *argv])} ")

    def _lead(self, around: str) -> None:
        self.around = around
        for key in ("append", "read"):
            self.admit(key, key)
        # A connection that is there goes on with what its key was good for when it came.
        for pid in self.sessions():
            _end(pid)

    def start(self) -> Elsewhere:
        """Start sshd."""
        with open(self.root / "sshd.log", "ab") as log:
            self.sshd = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self.root / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env={**os.environ, **self._with_a_shell()},
            )
        wait_for(self._listens, "sshd")
        return self

    def _with_a_shell(self) -> dict[str, str]:
        """The user that runs tests may have no login shell, with which sshd starts the forced command."""
        entry = pwd.getpwuid(os.getuid())
        passwd, group = self.root / "passwd", self.root / "group"
        passwd.write_text(f"{entry.pw_name}:x:{entry.pw_uid}:{entry.pw_gid}::{self.root}:/bin/sh\n")
        group.write_text(f"{entry.pw_name}:x:{entry.pw_gid}:\n")
        library = next(Path("/usr/lib").glob("*/libnss_wrapper.so"))
        return {
            "LD_PRELOAD": str(library),
            "NSS_WRAPPER_PASSWD": str(passwd),
            "NSS_WRAPPER_GROUP": str(group),
        }

    def stop(self) -> None:
        """No new connection, and the end of all that are there."""
        for pid in self.sessions():
            _end(pid)
        self.sshd.terminate()
        self.sshd.wait(timeout=240)

    def sessions(self) -> list[int]:
        """sshd's processes for connections, newest last."""
        children = Path(f"/proc/{self.sshd.pid}/task/{self.sshd.pid}/children")
        return [int(pid) for pid in children.read_text().split()] if children.exists() else []

    def doors(self) -> list[int]:
        """Processes of the door."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
            except OSError:
                continue
            if b"door" in words and str(self.place).encode() in words and b"-I" in words:
                found.append(int(entry))
        return found

    def log(self) -> str:
        """door.log."""
        path = self.archive / "door.log"
        return path.read_text() if path.exists() else ""

    def ssh(self, key: str, *options: str, command: tuple[str, ...] = ()) -> list[str]:
        """The command line of an ssh of somebody's own."""
        argv = ["ssh", "-F", "none", "-p", str(self.port), "-i", str(self.root / key), "-o", "BatchMode=yes"]
        argv += ["-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={self.known_hosts}", *options]
        return [*argv, f"{self.user}@127.0.0.1", *command]

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _keygen(self, name: str) -> None:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.root / name)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _end(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


_DELAY = '''"""Made by the test harness: a program whose two streams are late, as on a long way."""
import os, queue, subprocess, sys, threading, time
delay = float(sys.argv[1]) / 2
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

def late(source, sink):
    line = queue.Queue()
    def write():
        while True:
            due, data = line.get()
            time.sleep(max(0, due - time.monotonic()))
            if not data:
                os.close(sink)
                return
            while data:
                data = data[os.write(sink, data):]
    writer = threading.Thread(target=write)
    writer.start()
    while True:
        data = os.read(source, 1 << 16)
        line.put((time.monotonic() + delay, data))
        if not data:
            return writer

def inward():
    late(0, child.stdin.fileno())

threading.Thread(target=inward, daemon=True).start()
late(child.stdout.fileno(), 1).join()
os._exit(child.wait())
'''
