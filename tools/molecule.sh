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
for name in "${scenarios[@]}"; do
    start=$SECONDS
    # In the checkout: molecule's own choice is a name that two checkouts may share.
    MOLECULE_EPHEMERAL_DIRECTORY="$PWD/build/molecule/$name" molecule test -s "$name" || bad+=("$name")
    echo "molecule scenario $name: $((SECONDS - start)) s"
done
if [ ${#bad[@]} -gt 0 ]; then echo "molecule scenarios that failed: ${bad[*]}" >&2; exit 1; fi
