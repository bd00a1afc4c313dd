# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The proof that a restore will reach its target, before anything is touched."""

from __future__ import annotations

from .facts import BackupFacts, Commit, PlannedSegment, Proof, Target, TargetKind

__all__ = ["BackupFacts", "Commit", "PlannedSegment", "Proof", "Target", "TargetKind"]
