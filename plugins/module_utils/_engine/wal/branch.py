# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One line of history as a sequence of segments, chosen as PostgreSQL chooses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .history import Span
from .segment import Segment


class Branch:
    """The line that leads to the open end of a timeline."""

    def __init__(self, spans: Sequence[Span], segment_bytes: int) -> None:
        self.spans = tuple(spans)
        self.timeline = self.spans[-1].timeline
        self.segment_bytes = segment_bytes
        self._begins = [(span.begin // segment_bytes, span.timeline) for span in reversed(self.spans)]

    def segment(self, number: int) -> Segment:
        """The segment of that number: at a fork the child's, which repeats the parent's part."""
        for begin, timeline in self._begins:
            if begin <= number:
                return Segment(timeline, number)
        return Segment(self.spans[0].timeline, number)

    def timeline_at(self, lsn: int) -> int:
        """Whose record it is that begins at ``lsn``."""
        return next(span.timeline for span in self.spans if span.end is None or lsn < span.end)

    def last_present(self, numbers: Mapping[int, Sequence[int]]) -> int | None:
        """The highest number of which the archive has the segment of this line; ``numbers`` by timeline."""
        above: int | None = None
        for begin, timeline in self._begins:
            own = [
                number
                for number in reversed(numbers.get(timeline, ()))
                if number >= begin and (above is None or number < above)
            ]
            if own:
                return own[0]
            above = begin
        return None
