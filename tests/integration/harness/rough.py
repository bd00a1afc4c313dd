# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A way to another host that is cut, shut or held when a test wants it: a program around the door."""

from __future__ import annotations

ROUGH = '''"""Made by the test harness: see Elsewhere.roughen."""
import os, signal, subprocess, sys, threading, time
state, most, listener = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def word():
    with open(state) as handle:
        return (handle.read().split() or ["pass"])[0]

def cut():
    with open(state) as handle:
        rest = handle.read().split()[1:]
    with open(state + ".new", "w") as handle:
        handle.write(" ".join(rest))
    os.rename(state + ".new", state)
    # Those above us that serve this connection; not sshd itself, which listens.
    pid, above = os.getppid(), []
    while pid not in (0, 1, listener):
        above.append(pid)
        with open(f"/proc/{pid}/stat") as handle:
            pid = int(handle.read().rpartition(")")[2].split()[1])
    for pid in reversed(above):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    child.kill()
    os._exit(1)

if word() == "shut":
    os._exit(1)
child = subprocess.Popen(sys.argv[4:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

def inward():
    passed = 0
    while data := os.read(0, 1 << 14):
        while passed > most and word() == "hold":
            # Whoever sends may be gone meanwhile; that is seen at the next read.
            time.sleep(0.02)
        passed += len(data)
        try:
            child.stdin.write(data)
        except BrokenPipeError:
            return
    child.stdin.close()

threading.Thread(target=inward, daemon=True).start()
came = 0
while data := os.read(child.stdout.fileno(), 1 << 14):
    now = word()
    came = came + len(data) if now in ("cut", "shut") else 0
    if now == "cut" and came > most:
        cut()
    while data:
        data = data[os.write(1, data):]
os._exit(child.wait())
'''
