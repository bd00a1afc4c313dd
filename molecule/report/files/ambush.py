# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Holds a session of the report in the middle of a statement until a file is there, so that a conflict meets it."""

import os
import signal
import sys
import time

try:
    import psycopg as driver
except ImportError:
    import psycopg2 as driver

BUSY = """SELECT pid FROM pg_stat_activity
WHERE application_name = 'dbkeeper report' AND state = 'active' AND backend_xmin IS NOT NULL AND datname = 'shop'"""
connection = driver.connect("dbname=postgres")
connection.autocommit = True
cursor = connection.cursor()


def busy():
    """Sessions with a statement that has a snapshot."""
    cursor.execute(BUSY)
    return [row[0] for row in cursor.fetchall()]


deadline = time.monotonic() + float(sys.argv[1])
while time.monotonic() < deadline:
    for pid in busy():
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.01)
        caught = pid in busy()
        if caught:
            with open("/tmp/caught", "w") as handle:
                handle.write(str(pid))
            while not os.path.exists("/tmp/spring") and time.monotonic() < deadline:
                time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)
        if caught:
            sys.exit(0)
sys.exit("nobody came")
