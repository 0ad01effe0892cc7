"""What many trainers print beside the loss, in any order and spelling: time, MFU, rate, norm, speed."""

import re
from typing import Final, NamedTuple

from nanogpt_cli.explain.formats.numbers import DIGITS, NUMBER, PLAIN, fraction, milliseconds, number

_TIME: Final = re.compile(
    rf"(?:\b(?:time|dt|took|elapsed)\b|_(?:time|dt)\b)\W{{0,3}}({DIGITS})"
    r"\s?(ms|s|sec|seconds)\b",
    re.IGNORECASE | re.ASCII,
)
_BARE_MS: Final = re.compile(r"(\d{1,15}(?:[.,]\d{1,9})?)\s?ms\b", re.ASCII)
_MFU: Final = re.compile(rf"mfu[^\w-]{{0,3}}({NUMBER})|(-?{PLAIN})\s?%\s(?:\w{{1,5}}\s)?mfu", re.IGNORECASE)
_RATE: Final = re.compile(rf"(?<![a-z])(?:lr|learning[ _]rate)[\s:=|]{{1,3}}({NUMBER})", re.IGNORECASE)
_NORM: Final = re.compile(rf"(?<![a-z])(?:grad(?:ient)?[ _]?)?norm[\s:=|]{{1,5}}({NUMBER})", re.IGNORECASE)
_SPEED: Final = re.compile(
    r"tok(?:ens?)?s?\s?(?:/|per)\s?s(?:ec(?:ond)?)?\W{1,3}(\d[\d,]{0,18}(?:\.\d{1,9})?)"
    r"|(\d[\d,]{0,18}(?:\.\d{1,9})?)\s?tok(?:en)?s?/s",
    re.IGNORECASE,
)


class Fields(NamedTuple):
    """What was found; `mfu_pending`: a negative percentage was printed for "not measured"."""

    time_ms: float | None = None
    mfu: float | None = None
    mfu_pending: bool = False
    lr: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None


def fields(text: str) -> Fields:
    """Every known field in `text`, which stands after the iteration's number."""
    time_ms = None
    if found := _TIME.search(text):
        time_ms = milliseconds(found[1], "ms" if found[2].lower() == "ms" else "s")
    elif found := _BARE_MS.search(text):
        time_ms = number(found[1])
    percent = number(found[1] or found[2]) if (found := _MFU.search(text)) else None
    rate, norm, speed = _RATE.search(text), _NORM.search(text), _SPEED.search(text)
    return Fields(
        time_ms=time_ms,
        mfu=None if percent is None else fraction(percent),
        mfu_pending=percent is not None and percent < 0,
        lr=number(rate[1]) if rate else None,
        grad_norm=number(norm[1]) if norm else None,
        tokens_per_second=float((speed[1] or speed[2]).replace(",", "")) if speed else None,
    )
