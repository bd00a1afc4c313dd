#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
#
# contained.sh COMMAND...: the first process of the namespaces that as_test_user.sh makes, which mounts what only they
# see: shared memory, and, where DBKEEPER_TEST_MEMORY says a size, memory at DBKEEPER_TEST_TMP.
set -eu
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
if [ -n "$DBKEEPER_TEST_MEMORY" ]; then
    mount -t tmpfs -o "size=$DBKEEPER_TEST_MEMORY,mode=1777" tmpfs "$DBKEEPER_TEST_TMP"
fi
# Not exec: this shell is their init, and reaps orphans.
status=0
"$@" || status=$?
exit "$status"
