#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
#
# copy.sh FOLDER: copies what git tracks, and what it would track, to FOLDER/ansible_collections/dbkeeper/ops.
# Some tools insist on that path being a real one, and users other than root may not read the checkout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
place=$1/ansible_collections/dbkeeper/ops
mkdir -p "$place/build/ansible_collections/dbkeeper"
ln -sfn ../../.. "$place/build/ansible_collections/dbkeeper/ops"
git -c safe.directory="$PWD" ls-files -z --cached --others --exclude-standard |
    while IFS= read -rd '' path; do
        # Tracked but deleted, not yet committed.
        if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\0' "$path"; fi
    done |
    tar -c --null --no-recursion -T - | tar -x -C "$place" --no-same-owner
echo "$place"
