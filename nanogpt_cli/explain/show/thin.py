"""Fewer points, the same picture: what a screen of so many columns cannot show is left out.

`thin` keeps of every column the first, lowest, highest and last point (M4: Jugel et al., VLDB 2014,
https://www.vldb.org/pvldb/vol7/p797-jugel.pdf), so a spike of one iteration among a million stays visible and
the drawn line covers the same pixels.
"""

import math
import statistics
from collections.abc import Sequence

Point = tuple[float, float]  # (x, y); y is nan where the line breaks


def thin(points: Sequence[Point], columns: int) -> list[Point]:
    """At most about five points for each of `columns`, in order of x; non-finite values stay as gaps."""
    if len(points) <= 4 * columns:
        return list(points)
    kept: list[Point] = []
    for bucket in _buckets(points, columns):
        finite = [i for i, (_, y) in enumerate(bucket) if math.isfinite(y)]
        chosen = {next((i for i, (_, y) in enumerate(bucket) if not math.isfinite(y)), -1)} - {-1}
        if finite:
            chosen |= {
                finite[0],
                finite[-1],
                min(finite, key=lambda i: bucket[i][1]),
                max(finite, key=lambda i: bucket[i][1]),
            }
        kept += [bucket[i] for i in sorted(chosen)]
    return kept


def medians(points: Sequence[Point], columns: int) -> list[Point]:
    """The median of every column's finite values, at its middle point: the trend behind the noise."""
    trend = []
    for bucket in _buckets(points, columns):
        values = [y for _, y in bucket if math.isfinite(y)]
        y = statistics.median(values) if values else math.nan
        trend.append((bucket[len(bucket) // 2][0], y))
    return trend


def _buckets(points: Sequence[Point], columns: int) -> list[list[Point]]:
    """The points, which are in order of x, column by column; empty columns are left out."""
    first, last = points[0][0], points[-1][0]
    width = (last - first) / columns or 1.0
    buckets: list[list[Point]] = []
    current = -1
    for point in points:
        column = min(int((point[0] - first) / width), columns - 1)
        if column != current:
            buckets.append([])
            current = column
        buckets[-1].append(point)
    return buckets
