#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
#
# as_test_user.sh COMMAND...: runs a command in the checkout, never as root, because PostgreSQL refuses root.
#
# Started by root, it runs as the system user dbkeeper-test in a copy of the checkout (which may lie below
# /root), with a venv which that user can read; copy and leftover processes are gone afterwards.
# The command finds:
#   DBKEEPER_REPORT_DIR        what is written there ends up in build/reports
#   DBKEEPER_TEST_ON_DISK      (given) what is written lies on the disk, as for measurements
#   DBKEEPER_TEST_POSTGRESQL   folders of PostgreSQL installations, separated by colons
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
reports=$here/build/reports
mkdir -p "$reports"

if [ "$(id -u)" != 0 ]; then
    export DBKEEPER_REPORT_DIR=$reports PATH=$here/.venv/bin:$PATH
    export ANSIBLE_COLLECTIONS_PATH=$here/build PYTHONPATH=$here/build
    exec "$@"
fi

user=dbkeeper-test
if ! id -u "$user" >/dev/null 2>&1; then
    # Two runs may both find it missing; whoever comes second is content that it exists.
    useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$user" \
        || id -u "$user" >/dev/null
fi
venv=$(tools/setup.sh test-venv)

# Short: paths of Unix sockets end at 107 characters. Not /tmp, which may be a small file system in memory.
find /var/tmp -maxdepth 1 -name 'dbk.*' -user "$user" -mmin +1440 -exec rm -rf {} +
work=$(mktemp -d /var/tmp/dbk.XXXXXX)

# In PID, mount and IPC namespaces of its own, where they are allowed: nothing that a killed test started outlives
# it, neither processes nor shared memory (of System V a machine has 4096 segments), and orphans are reaped at
# once (a shell is their init), so that PostgreSQL sees that its postmaster died.
#
# What the tests write lies in memory where there is plenty (a quarter less time); what they keep, on the disk.
memory=
available=$(awk '$1 == "MemAvailable:" { print int($2 / 1048576) }' /proc/meminfo)
if [ "$available" -ge 12 ] && [ -z "${DBKEEPER_TEST_KEEP:-}${DBKEEPER_TEST_ON_DISK:-}" ]; then
    memory=$((available * 2 / 3))g
fi
export DBKEEPER_TEST_MEMORY=$memory DBKEEPER_TEST_TMP=$work/tmp
mkdir "$DBKEEPER_TEST_TMP"
contain=(unshare --ipc --pid --mount-proc --fork --kill-child -- "$here/tools/contained.sh")
"${contain[@]}" true 2>/dev/null || contain=()

finish() {
    trap - EXIT
    cd /
    local entry
    # Without namespaces, the current folder tells which servers were left behind: it is in the copy.
    for entry in /proc/[0-9]*; do
        case $(readlink "$entry/cwd" 2>/dev/null) in
            "$work"/*) kill -KILL "${entry#/proc/}" 2>/dev/null || true ;;
        esac
    done
    if [ -d "$work/reports" ]; then cp -r "$work/reports/." "$reports/"; fi
    if [ -n "${DBKEEPER_TEST_KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

place=$(tools/copy.sh "$work")
for namespace in build/ansible_collections/*; do
    # What `setup.sh collections` has linked; the checkout itself has been copied.
    if [ -L "$namespace" ]; then cp -P "$namespace" "$work/ansible_collections/"; fi
done
mkdir -p "$work/home" "$work/reports"
chmod 755 "$work"
chown -R "$user:" "$work"
cd "$place"
"${contain[@]}" runuser -u "$user" -- env \
    HOME="$work/home" USER="$user" LOGNAME="$user" TMPDIR="$work/tmp" PYTEST_DEBUG_TEMPROOT="$work" \
    PATH="$venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" VIRTUAL_ENV="$venv" \
    ANSIBLE_COLLECTIONS_PATH="$work" ANSIBLE_LOCAL_TEMP="$work/tmp" PYTHONPATH="$work" \
    PYTHONDONTWRITEBYTECODE=1 DBKEEPER_REPORT_DIR="$work/reports" "$@"
