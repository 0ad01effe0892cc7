"""Which process of several a line comes from, where its prefix says so: `[rank1]:`, `[1,3]<stdout>:`, `3: `.

What the first rank to print a loss prints counts; of the others only failures do.
"""

import re
from typing import Final, Literal

_RANK: Final = re.compile(r"(?:\[(?:rank|default|\d{1,4},)?(\d{1,5})\](?:<\w{1,9}>)?|(\d{1,4})): ?", re.ASCII)


class Ranks:
    """Remembers the rank whose losses count."""

    def __init__(self) -> None:
        self._main: int | None = None

    def of(self, line: str) -> Literal["main", "other", "repeated"]:
        """Whether to read a line, to look for failures only, or to count it as a repeated one."""
        found = _RANK.match(line)
        if found is None:
            return "main"
        rank, has_loss = int(found[1] or found[2]), "oss" in line
        if self._main is None and has_loss:
            self._main = rank
        if self._main is None or rank == self._main:
            return "main"
        return "repeated" if has_loss else "other"
