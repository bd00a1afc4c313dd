# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Real systemd hosts for the tests: debootstrap images, overlay mounts, systemd-nspawn, ssh.

Standard library only, so that it runs before any virtual environment exists.
Start with ``python3 -m tests.bed --help``; how scenarios use it is in ``molecule/README.md``.
"""
