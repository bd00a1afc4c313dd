# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Run every static check: python tools/lint.py [TOOL...].

All tools run even when one fails. They work on a copy of what git knows of, so that nothing else that
lies in the checkout is looked at, and nothing is left in it. Run by `make lint`, which sets up the venv.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
COLLECTION = "dbkeeper.ops"
PLACE = Path("ansible_collections/dbkeeper/ops")
ENGINE = "plugins/module_utils/_engine"
MANAGED_HOSTS = "3.9"
ANSIBLE_TEST_CACHE = Path.home() / ".ansible/test/cache"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Failed(Exception):
    """A command said no; its output is in the log of the check."""


# What tools say while they work; nobody looks for an error in it.
NOISE = re.compile(
    r"\s*(Collecting |Downloading |Installing |Looking in |Processing |Requirement already |Successfully |"
    r"Running sanity test |See documentation for help: |Using cached |WARNING: (Location|Using locale) |━|$)"
)


class Log:
    """What one check printed; shown only if the check fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remark = ""
        path.write_text("")

    def lines(self) -> list[str]:
        return [line for line in self.path.read_text(errors="replace").splitlines() if not NOISE.match(line)]

    def run(self, command: list[str], cwd: Path, **environment: str) -> None:
        line = " ".join(command)
        with self.path.open("a") as stream:
            stream.write(f"$ {line}\n")
            stream.flush()
            done = subprocess.run(
                command,
                cwd=cwd,
                # Without PYTHONPATH, where Ansible would find the checkout in place of the copy.
                env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise Failed(f"exit code {done.returncode}: {line}")


@dataclass(frozen=True)
class Site:
    """One copy of the tree, where one check works undisturbed."""

    top: Path

    @property
    def tree(self) -> Path:
        return self.top / PLACE

    @property
    def scratch(self) -> Path:
        folder = self.top / "scratch"
        folder.mkdir(exist_ok=True)
        return folder

    def run(self, log: Log, *command: str, **environment: str) -> None:
        log.run(list(command), self.tree, ANSIBLE_COLLECTIONS_PATH=str(self.top), **environment)


def managed_code(site: Site) -> list[str]:
    """Folders whose code runs on managed hosts, with their Python."""
    return [name for name in ("plugins/modules", "plugins/module_utils") if (site.tree / name).is_dir()]


def ruff(site: Site, log: Log) -> None:
    site.run(log, "ruff", "check", "--no-cache", ".")


def ruff_format(site: Site, log: Log) -> None:
    site.run(log, "ruff", "format", "--no-cache", "--check", ".")


def mypy(site: Site, log: Log) -> None:
    cache = CHECKOUT / "build/cache/mypy"
    site.run(log, "mypy", "--strict", "--cache-dir", str(cache), ENGINE)


def vermin(site: Site, log: Log) -> None:
    options = [f"-t={MANAGED_HOSTS}-", "--no-tips", "--violations", "--eval-annotations"]
    site.run(log, "vermin", *options, *managed_code(site))


def ansible_lint(site: Site, log: Log) -> None:
    site.run(log, "ansible-lint", "--offline", "--profile", "production", "--strict", "--nocolor")


def prepare_ansible_test(log: Log) -> None:
    """Give ansible-test the script that it would download; see tools/get_pip.py."""
    from ansible_test._internal import python_requirements

    source = Path(python_requirements.__file__).read_text()
    found = re.search(r"default_packages = dict\(\s*pip='([\d.]+)'", source)
    if not found:
        raise Failed("this ansible-test does not say which pip it wants")
    version = found.group(1)
    cache = ANSIBLE_TEST_CACHE
    script = cache / f"get_pip_{version.replace('.', '_')}.py"
    cache.mkdir(parents=True, exist_ok=True)
    if script.exists():
        return
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
        log.run([*pip, f"pip=={version}"], CHECKOUT)
        wheel = next(Path(scratch).glob("pip-*.whl"))
        wheel.replace(cache / wheel.name)
        copy = Path(shutil.copy(CHECKOUT / "tools/get_pip.py", scratch))
        copy.replace(script)


def ansible_test(site: Site, log: Log, python: str, *options: str) -> None:
    with (ANSIBLE_TEST_CACHE / "dbkeeper-lint.lock").open("w") as handle:
        # ansible-test makes venvs in the user's home, and two that make the same one spoil it.
        fcntl.flock(handle, fcntl.LOCK_EX)
        site.run(log, "ansible-test", "sanity", "--python", python, "--color", "no", *options)
    text = log.path.read_text(errors="replace")
    if "All targets skipped" in text:
        raise Failed("ansible-test found nothing to test, which must not pass for success")
    log.remark = f"{len(set(re.findall(r'Running sanity test .([a-z0-9-]+)', text)))} tests"


def sanity(site: Site, log: Log) -> None:
    prepare_ansible_test(log)
    ansible_test(site, log, PYTHON)


def oldest_python(site: Site, log: Log) -> None:
    """Compile and import with the oldest Python of managed hosts, where there is one."""
    interpreter = shutil.which(f"python{MANAGED_HOSTS}")
    # A shim of a version manager may be there without the interpreter behind it.
    if not interpreter or subprocess.call([interpreter, "-c", ""], stderr=subprocess.DEVNULL):
        log.remark = f"no Python {MANAGED_HOSTS} on this machine: vermin and ruff only read the code"
        return
    prepare_ansible_test(log)
    ansible_test(site, log, MANAGED_HOSTS, "--test", "compile", "--test", "import")
    log.remark = "compiled and imported"


def docs(site: Site, log: Log) -> None:
    site.run(log, "antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", ".")


def changelog(site: Site, log: Log) -> None:
    site.run(log, "antsibull-changelog", "lint")


def build(site: Site, log: Log) -> Path:
    site.run(log, "ansible-galaxy", "collection", "build", "--output-path", str(site.scratch))
    return next(site.scratch.glob("*.tar.gz"))


def importer(site: Site, log: Log) -> None:
    archive = build(site, log)
    settings = site.scratch / "importer.cfg"
    settings.write_text("[galaxy-importer]\nRUN_ANSIBLE_TEST = False\nOFFLINE_ANSIBLE_LINT = True\n")
    interpreter = [sys.executable, "-m", "galaxy_importer.main", str(archive)]
    # Outside of the tree, since the importer leaves files where it runs.
    log.run(interpreter, site.scratch, GALAXY_IMPORTER_CONFIG=str(settings))


def installed(site: Site, log: Log) -> None:
    """Use what a user gets: install the archive into an empty folder, and read every page of it."""
    archive = build(site, log)
    home = site.scratch / "installed"
    nothing = site.scratch / "ansible.cfg"
    nothing.write_text("")
    elsewhere = {"ANSIBLE_COLLECTIONS_PATH": str(home), "ANSIBLE_CONFIG": str(nothing)}
    galaxy = ["ansible-galaxy", "collection", "install", str(archive), "-p", str(home)]
    log.run([*galaxy, "--no-deps", "--offline"], site.scratch, **elsewhere)
    tree = home / PLACE
    names: dict[str, list[str]] = {}
    kinds = (("module", "modules"), ("filter", "filter"), ("lookup", "lookup"), ("callback", "callback"))
    for kind, folder in kinds:
        paths = (tree / "plugins" / folder).glob("[!_]*.py")
        names[kind] = sorted(path.stem for path in paths if path.stem != "__init__")
    if not (tree / "MANIFEST.json").is_file():
        raise Failed("the archive was not installed where it should be")
    # A filter may be documented beside the file that defines it.
    names["filter"] = sorted(path.stem for path in (tree / "plugins/filter").glob("*.yml")) or names["filter"]
    names["role"] = sorted(path.parent.parent.name for path in tree.glob("roles/*/meta/argument_specs.yml"))
    for kind, found in names.items():
        if found:
            pages = [f"{COLLECTION}.{name}" for name in found]
            log.run(["ansible-doc", "-t", kind, *pages], site.scratch, **elsewhere)
    for playbook in sorted(tree.glob("playbooks/*.yml")):
        page = f"{COLLECTION}.{playbook.stem}"
        command = ["ansible-playbook", "--syntax-check", "-i", "localhost,", page]
        log.run(command, site.scratch, **elsewhere)
    log.remark = ", ".join(f"{len(found)} {kind}s" for kind, found in names.items() if found)


Check = Callable[[Site, Log], None]
# The slowest first: two run at a time.
CHECKS: dict[str, Check] = {
    "ansible-test-sanity": sanity,
    "galaxy-importer": importer,
    "ansible-lint": ansible_lint,
    "antsibull-docs": docs,
    "mypy": mypy,
    "installed-collection": installed,
    f"python-{MANAGED_HOSTS}": oldest_python,
    "vermin": vermin,
    "antsibull-changelog": changelog,
    "ruff-check": ruff,
    "ruff-format": ruff_format,
}


@contextlib.contextmanager
def copies(names: list[str]) -> Iterator[dict[str, Site]]:
    """One copy per check; gone afterwards. Not below the checkout, whose git ignores them: so would tools."""
    with tempfile.TemporaryDirectory(prefix="dbkeeper-lint.", ignore_cleanup_errors=True) as top:
        sites = {name: Site(Path(top) / name) for name in names}
        for site in sites.values():
            copy = [str(CHECKOUT / "tools/copy.sh"), str(site.top)]
            subprocess.run(copy, check=True, stdout=subprocess.DEVNULL)
            # Only a checkout needs this link; tools that follow it would read everything twice.
            shutil.rmtree(site.tree / "build")
            for namespace in (CHECKOUT / "build/ansible_collections").iterdir():
                # What `setup.sh collections` has linked: roles use its modules.
                if namespace.is_symlink():
                    (site.top / "ansible_collections" / namespace.name).symlink_to(namespace.resolve())
        yield sites


def timed(check: Check, site: Site, log: Log) -> tuple[float, str]:
    """Run one check; return its seconds and what went wrong."""
    start = time.monotonic()
    try:
        check(site, log)
    except Failed as problem:
        return time.monotonic() - start, str(problem)
    return time.monotonic() - start, ""


def main(chosen: list[str]) -> None:
    unknown = sorted(set(chosen) - set(CHECKS))
    if unknown:
        sys.exit(f"no such tool: {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    names = [name for name in CHECKS if name in chosen or not chosen]
    logs = CHECKOUT / "build/logs/lint"
    logs.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    start = time.monotonic()
    with copies(names) as sites, ThreadPoolExecutor(max_workers=2) as pool:
        futures: dict[Future[tuple[float, str]], tuple[str, Log]] = {}
        for name in names:
            log = Log(sites[name].top / "log")
            futures[pool.submit(timed, CHECKS[name], sites[name], log)] = (name, log)
        for future in as_completed(futures):
            name, log = futures[future]
            seconds, problem = future.result()
            kept = shutil.copy(log.path, logs / f"{name}.log")
            line = f"{'FAILED' if problem else 'ok':7}{name:24}{seconds:6.1f} s  {log.remark}"
            print(line.rstrip(), flush=True)
            if problem:
                failed.append(name)
                for line in [*log.lines(), problem, f"everything it said is in {kept}"]:
                    print(f"    {line}", flush=True)
    summary = f"{len(names) - len(failed)} passed, {len(failed)} failed in {time.monotonic() - start:.1f}s"
    if failed:
        sys.exit(f"{summary}: {', '.join(failed)}")
    print(summary)


if __name__ == "__main__":
    main(sys.argv[1:])
