# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Install pip from the wheel beside this file.

ansible-test makes venvs of its own and wants a script of this name in its cache; otherwise it downloads
one from a file server that many networks cannot reach. tools/lint.py puts this file and the wheel there.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

# Older pips ship no setuptools or wheel to be left out, so their options mean nothing here.
packages = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
version = next(package.partition("==")[2] for package in packages if package.startswith("pip=="))
wheel = next(Path(__file__).parent.glob(f"pip-{version}-*.whl"))
sys.path.insert(0, str(wheel))
sys.argv = ["pip", "install", *packages]
runpy.run_module("pip", run_name="__main__")
