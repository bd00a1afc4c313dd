# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``make bench``: measures the budgets against what people use otherwise, all in one run on one machine.

Writes ``$DBKEEPER_REPORT_DIR/bench.json`` and prints a table. Takes about half an hour and 25 GB of disk below
the directory for temporary files. Ratios are what counts: figures of different machines say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tests.integration.harness.sandbox import Sandbox

from . import cold_proof, disaster, fleet, logical, many_segments
from . import reports as large_server
from .record import machine, say, table, write


def main() -> int:
    """Status 0 when everything was measured, whether or not the budgets are kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=4000, help="size of the database")
    parser.add_argument("--wal-megabytes", type=int, default=2200, help="WAL after the backup")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--segments", type=int, default=10_000, help="length of the archive for the proof")
    parser.add_argument(
        "--cold-segments", type=int, default=64, help="of 16 MB, for the proof without an index"
    )
    parser.add_argument("--logical-megabytes", type=int, default=1000, help="what is dumped and loaded")
    parser.add_argument("--logical-brief", action="store_true", help="only what has a budget")
    parser.add_argument("--logical-rows", nargs="+", choices=logical.ROWS, default=logical.ROWS)
    parser.add_argument("--only", choices=("disaster", "segments", "cold", "logical", "fleet", "reports"))
    options = parser.parse_args()
    reports = Path(os.environ.get("DBKEEPER_REPORT_DIR", "build/reports"))
    reports.mkdir(parents=True, exist_ok=True)
    where = machine()
    say(json.dumps(where))
    rows = []
    if options.only in (None, "disaster"):
        sandbox = Sandbox()
        try:
            rows += disaster.measure(
                sandbox,
                megabytes=options.megabytes,
                wal_megabytes=options.wal_megabytes,
                repeat=options.repeat,
            )
        finally:
            sandbox.close()
        write(reports / "bench.json", rows)
    if options.only in (None, "segments"):
        sandbox = Sandbox()
        try:
            rows += many_segments.measure(sandbox, segments=options.segments, repeat=options.repeat)
        finally:
            sandbox.close()
    if options.only in (None, "cold"):
        sandbox = Sandbox()
        try:
            rows += cold_proof.measure(sandbox, segments=options.cold_segments, repeat=options.repeat)
        finally:
            sandbox.close()
    if options.only in (None, "logical"):
        sandbox = Sandbox()
        try:
            rows += logical.measure(
                sandbox,
                megabytes=options.logical_megabytes,
                repeat=options.repeat,
                brief=options.logical_brief,
                rows=options.logical_rows,
            )
        finally:
            sandbox.close()
    if options.only in (None, "fleet"):
        rows += fleet.measure(nodes=50, findings=5000, repeat=options.repeat)
    if options.only in (None, "reports"):
        sandbox = Sandbox()
        try:
            rows += large_server.measure(sandbox, repeat=options.repeat)
        finally:
            sandbox.close()
    write(reports / "bench.json", rows)
    print("\n" + table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
