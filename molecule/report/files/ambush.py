# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Holds a session of the report in the middle of a statement until a file is there, so that a conflict meets it.

A process that is stopped keeps what it has in its hands, a lock of the server's own memory sometimes, and then whoever
needs it waits: new sessions, statements that were never run before, replay. A session is kept only where a new
connection still answers; any other goes on, and the next statement is tried.
"""

import os
import signal
import subprocess
import sys
import time

try:
    import psycopg as driver
except ImportError:
    import psycopg2 as driver

BUSY = """SELECT pid FROM pg_stat_activity
WHERE application_name = 'dbkeeper report' AND state = 'active' AND backend_xmin IS NOT NULL AND datname = 'shop'
  AND query LIKE '%/* dbkeeper report */%'"""
#: Seconds until somebody who does not answer is taken for one who cannot.
PATIENCE = 5
connection = driver.connect("dbname=postgres")
connection.autocommit = True
cursor = connection.cursor()
tried = 0


def busy():
    """Sessions with a statement that has a snapshot."""
    cursor.execute(BUSY)
    return [row[0] for row in cursor.fetchall()]


def held(pid):
    """Whether a stopped session is in the middle of a statement and in nobody's way, as a newcomer finds it."""
    # Another statement each time: one that is met for the first time needs for itself what others share.
    look = BUSY + " AND pg_last_wal_replay_lsn() <= pg_last_wal_receive_lsn()" * tried
    command = ["psql", "-XAt", "-d", "shop", "-c", look]
    try:
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        print(f"session {pid} is let go: {error}", flush=True)
        return False
    return str(pid) in said.split()


deadline = time.monotonic() + float(sys.argv[1])
while time.monotonic() < deadline:
    for pid in busy():
        tried += 1
        os.kill(pid, signal.SIGSTOP)
        caught = held(pid)
        if caught:
            with open("/tmp/caught", "w") as handle:
                handle.write(str(pid))
            while not os.path.exists("/tmp/spring") and time.monotonic() < deadline:
                time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)
        if caught:
            sys.exit(0)
sys.exit(f"nobody came in {tried} tries")
