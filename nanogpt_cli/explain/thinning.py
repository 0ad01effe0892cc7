"""Keeps a run's points few however many the log has, without losing what a diagnosis looks for.

Up to `limit` points nothing is dropped. Beyond that the points are grouped into buckets of equal size, and of
each bucket the first point, the lowest and the highest value (a non-finite one counts as the highest) and the
longest time stay. So the first point, the best, the worst, the slowest and the first non-finite one of the
whole run are always there, and the points lie evenly over it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

Point = TypeVar("Point")
LIMIT: Final = 50_000  # some 15 MB; a terminal or a page shows a few thousand
_BUCKET: Final = 16
_KEPT: Final = 4  # of each bucket: a thinning leaves a quarter of the points
_FACTOR: Final = _BUCKET // _KEPT


class Thinned(Generic[Point]):
    """Appends to `points`, thinning them in place when they become too many."""

    def __init__(
        self,
        points: list[Point],
        value: Callable[[Point], float | None],
        time: Callable[[Point], float | None],
        limit: int = LIMIT,
    ) -> None:
        self.points = points
        self._value, self._time, self._limit = value, time, limit
        self._bucket_size = 1  # incoming points per bucket; 1: all of them stay
        self._bucket: list[Point] = []  # of the points taken since the last full bucket, those that may stay
        self._taken = 0
        self._last: Point | None = None

    def append(self, point: Point) -> None:
        """Take the next point of the log."""
        self._last = point
        if self._bucket_size == 1:
            self.points.append(point)
        else:
            self._bucket.append(point)
            self._taken += 1
            if self._taken < self._bucket_size:
                return
            self._empty_bucket()
        if len(self.points) >= self._limit:
            self._thin()

    def extend(
        self, values: Sequence[float], times: Sequence[float] | None, point: Callable[[int], Point]
    ) -> None:
        """Take many points with finite values; `point(i)` makes one of them, which is asked of few."""
        start, end = 0, len(values)
        while start < end:
            if self._bucket_size == 1:
                self.append(point(start))
                start += 1
                continue
            stop = min(end, start + self._bucket_size - self._taken)
            part = values[start:stop]
            chosen = {0, part.index(min(part)), part.index(max(part))}
            if times is not None:
                slow = times[start:stop]
                chosen.add(slow.index(max(slow)))
            made = [point(start + i) for i in sorted(chosen)]
            if len(part) == self._bucket_size:
                self.points += made  # a whole bucket: nothing to choose again
            else:
                self._bucket += made
                self._taken += len(part)
                if self._taken >= self._bucket_size:
                    self._empty_bucket()
            start = stop
            if len(self.points) >= self._limit:
                self._thin()
        if end and self._bucket_size > 1:
            self._last = point(end - 1)

    def _empty_bucket(self) -> None:
        self.points += self._keep(self._bucket)
        self._bucket.clear()
        self._taken = 0

    def flush(self) -> None:
        """Bring the points of an unfinished bucket to `points`, and the log's last one in any case."""
        self._empty_bucket()
        if self._last is not None and not (self.points and self.points[-1] == self._last):
            self.points.append(self._last)

    def renew(self, point: Point) -> None:
        """`points` was given a better version of its last point."""
        self._last = point

    def drop(self, dropped: Callable[[Point], bool]) -> None:
        """Remove the points a resume rolled back."""
        self.flush()
        self.points[:] = [point for point in self.points if not dropped(point)]
        self._last = None

    def _thin(self) -> None:
        buckets = range(0, len(self.points), _BUCKET)
        self.points[:] = [p for start in buckets for p in self._keep(self.points[start : start + _BUCKET])]
        self._bucket_size = _BUCKET if self._bucket_size == 1 else _FACTOR * self._bucket_size

    def _keep(self, bucket: Sequence[Point]) -> list[Point]:
        if len(bucket) <= _KEPT:
            return list(bucket)
        values = [self._value(point) for point in bucket]
        high = [math.inf if v is not None and not math.isfinite(v) else _known(v) for v in values]
        low = [math.inf if v is None or not math.isfinite(v) else v for v in values]
        times = [_known(self._time(point)) for point in bucket]
        kept = {0, low.index(min(low)), high.index(max(high)), times.index(max(times))}
        return [bucket[i] for i in sorted(kept)]


def _known(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value
