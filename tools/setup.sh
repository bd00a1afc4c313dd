#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
#
# Prepares this machine for one of the Makefile's targets. Says nothing when there is nothing to do.
#
#   setup.sh packages SET...   Debian packages (root installs them, others are told their names)
#   setup.sh venv [run]        .venv with everything in requirements*.txt; run: only what playbooks need
#   setup.sh test-venv         prints the folder of a venv that ordinary users can read, made if missing
#   setup.sh link              build/ansible_collections/dbkeeper/ops, so that Ansible finds the checkout
#   setup.sh collections       the collections that roles need, beside it (not needed by the quickstart)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022
root=$PWD
cache=${DBKEEPER_TEST_CACHE:-}
if [ -z "$cache" ]; then
    if [ "$(id -u)" = 0 ]; then cache=/var/cache/dbkeeper-test; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/dbkeeper-test; fi
fi

die() { echo "setup: $*" >&2; exit 1; }

# quietly WHAT LOG COMMAND...: one line for the reader, the rest into a file that is shown on failure.
quietly() {
    local what=$1 log=$2 start=$SECONDS
    shift 2
    mkdir -p "$(dirname "$log")"
    echo "setup: $what ..." >&2
    if ! "$@" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        die "$what failed; everything it said is in $log"
    fi
    echo "setup: $what: $((SECONDS - start)) s" >&2
}

packages_of() {
    case $1 in
        venv) echo python3 python3-venv git ;;
        quickstart) echo python3-apt ;;
        lint) echo shellcheck ;;
        unit) echo systemd ;;
        integration)
            echo acl age chromium faketime gnupg libnss-wrapper openssh-client openssh-server openssl pgbadger pgbouncer \
                postgresql postgresql-15-hypopg postgresql-15-pg-qualstats postgresql-contrib python3-boto3 python3-psycopg rsync zstd
            ;;
        molecule) echo acl debootstrap iproute2 nftables openssh-client pgbadger systemd-container zstd ;;
        bench) echo chromium pgbackrest postgresql postgresql-contrib zstd ;;
        *) die "no package set is named '$1'" ;;
    esac
}

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of() {
    local name
    for name in "$@"; do is_installed "$name" || echo "$name"; done
}

apt_install() {
    local no_main=/etc/postgresql-common/createcluster.d/dbkeeper-test.conf made=
    # A cluster named main that nobody asked for would take port 5432. An installation that is already
    # here belongs to somebody else, so its configuration is left alone.
    if ! is_installed postgresql-common; then
        mkdir -p "${no_main%/*}"
        echo 'create_main_cluster = false' >"$no_main"
        made=yes
    fi
    local status=0 policy=/usr/sbin/policy-rc.d kept=
    # What tests need is started by tests; a pooler that packages start would take its port.
    if [ -e "$policy" ] && ! grep -q dbkeeper-test "$policy"; then
        kept=yes
    else
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\n# dbkeeper-test\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    # An unreachable third-party source need not stop us: the installation tells whether that mattered.
    apt-get -q -o DPkg::Lock::Timeout=600 update || echo "apt-get update failed, going on"
    apt-get -q -y -o DPkg::Lock::Timeout=600 --no-install-recommends install "$@" || status=$?
    if [ -z "$kept" ]; then
        rm -f "$policy"
        trap - EXIT
    fi
    if [ -n "$made" ]; then rm -f "$no_main"; fi
    return "$status"
}

packages() {
    local set wanted=() missing=()
    for set in "$@"; do
        read -ra names <<<"$(packages_of "$set")"
        wanted+=("${names[@]}")
    done
    command -v dpkg-query >/dev/null || die "only Debian and its relatives are set up here; this needs: ${wanted[*]}"
    mapfile -t missing < <(missing_of "${wanted[@]}")
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "missing packages; run as root: apt-get install ${missing[*]}"
    exec 8>/run/lock/dbkeeper-setup.lock
    flock 8
    mapfile -t missing < <(missing_of "${wanted[@]}")
    if [ ${#missing[@]} -gt 0 ]; then
        quietly "installing ${missing[*]}" "$root/build/logs/apt.log" apt_install "${missing[@]}"
    fi
    exec 8>&-
}

# The distribution's own Python first: version managers below /root cannot be used by other users.
find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "no Python 3.11 or newer with venv was found"
}

# make_venv FOLDER REQUIREMENTS...: stamped with what went in, so a complete one costs one checksum.
make_venv() {
    local folder=$1 python base wanted=() file
    shift
    python=$(find_python)
    base="$folder $python $("$python" -V)"
    for file in "$@"; do wanted+=("$(cat "$file" requirements-constraints.txt | sha256sum | cut -c1-64) $file"); done
    is_current() {
        local line
        [ "$(head -n 1 "$folder/.stamp" 2>/dev/null)" = "$base" ] || return 1
        for line in "${wanted[@]}"; do grep -qxF "$line" "$folder/.stamp" || return 1; done
    }
    if is_current; then return 0; fi
    mkdir -p "${folder%/*}"
    exec 9>"$folder.lock"
    flock 9
    if ! is_current; then
        if [ "$(head -n 1 "$folder/.stamp" 2>/dev/null)" != "$base" ]; then
            # Scripts in a venv carry its path, so one that was moved or half made starts afresh.
            quietly "creating ${folder#"$root"/}" "$root/build/logs/venv.log" "$python" -m venv --clear "$folder"
        fi
        quietly "installing Python packages into ${folder#"$root"/}" "$root/build/logs/pip.log" \
            "$folder/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
            "${@/#/-r}" -c requirements-constraints.txt
        printf '%s\n' "$base" "${wanted[@]}" >"$folder/.stamp"
    fi
    exec 9>&-
}

venv() {
    local requirements=(requirements.txt)
    if [ "${1:-}" != run ]; then requirements+=(requirements-test.txt requirements-lint.txt); fi
    make_venv "$root/.venv" "${requirements[@]}"
}

test_venv() {
    local requirements=(requirements.txt requirements-test.txt) key
    key=$(cat "${requirements[@]}" requirements-constraints.txt | sha256sum | cut -c1-12)
    make_venv "$cache/venv-$key" "${requirements[@]}"
    echo "$cache/venv-$key"
}

link() {
    local place=build/ansible_collections/dbkeeper
    [ "$(readlink "$place/ops" 2>/dev/null)" = ../../.. ] && return
    mkdir -p "$place"
    # Relative, so that it stays right when the checkout is moved or copied.
    ln -sfn ../../.. "$place/ops"
}

collections() {
    local place namespace
    place=$("$root/.venv/bin/python" tools/fetch_collections.py)
    for namespace in "$place"/*; do
        [ "$(readlink "build/ansible_collections/${namespace##*/}" 2>/dev/null)" = "$namespace" ] && continue
        mkdir -p build/ansible_collections
        ln -sfn "$namespace" "build/ansible_collections/${namespace##*/}"
    done
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
    packages) packages "$@" ;;
    venv) venv "$@" ;;
    test-venv) test_venv ;;
    link) link ;;
    collections) collections ;;
    *) die "what? packages, venv, test-venv, link or collections" ;;
esac
