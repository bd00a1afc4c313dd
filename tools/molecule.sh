#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
#
# molecule.sh SCENARIO|all...: tests scenarios one after another, all of them even when one fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
[ "$(id -u)" = 0 ] || { echo "molecule scenarios boot whole systemd hosts: run this as root" >&2; exit 1; }
scenarios=("$@")
if [ "${1:-all}" = all ]; then
    scenarios=()
    for file in molecule/*/molecule.yml; do
        folder=${file%/molecule.yml}
        # Too long for every run: only by its name.
        if grep -q '^# only by name' "$file"; then continue; fi
        scenarios+=("${folder##*/}")
    done
fi
bad=()
test_one() {
    local start=$SECONDS
    # In the checkout: molecule's own choice is a name that two checkouts may share.
    MOLECULE_EPHEMERAL_DIRECTORY="$PWD/build/molecule/$1" molecule test -s "$1" || bad+=("$1${2:+ ($2)}")
    echo "molecule scenario $1${2:+ ($2)}: $((SECONDS - start)) s"
}
releases=(bookworm trixie forky)
for name in "${scenarios[@]}"; do
    if ! grep -q DBKEEPER_TEST_RELEASE "molecule/$name/molecule.yml"; then
        test_one "$name"
        continue
    fi
    # Each day another one, so that none is forgotten; all of them by name.
    case ${DBKEEPER_TEST_RELEASE:-} in
        all) chosen=("${releases[@]}") ;;
        "") chosen=("${releases[$(($(date +%s) / 86400 % ${#releases[@]}))]}") ;;
        *) chosen=("$DBKEEPER_TEST_RELEASE") ;;
    esac
    for release in "${chosen[@]}"; do DBKEEPER_TEST_RELEASE=$release test_one "$name" "$release"; done
done
if [ ${#bad[@]} -gt 0 ]; then echo "molecule scenarios that failed: ${bad[*]}" >&2; exit 1; fi
