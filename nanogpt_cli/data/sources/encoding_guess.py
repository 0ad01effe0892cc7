"""What a text that is not UTF-8 probably is: a guess for a hint, never for reading.

Each candidate decodes a stretch of the text; the one with the largest share of characters that are frequent
in its language wins. Frequent are the level-1 characters of GB 2312 and Big5, blocks of lead bytes, and
Hangul, kana and lower-case letters of other alphabets, blocks of Unicode.
"""

from collections.abc import Callable
from typing import Final

_WINDOW_BYTES: Final = 1 << 14
_ENOUGH: Final = 0.6  # share of a candidate's non-ASCII characters that are frequent ones


def likely_encoding(raw: bytes, start: int) -> str | None:
    """The name of the likely encoding of `raw`, whose byte at `start` is not UTF-8; None if nothing fits.

    A character broken off at the very end, or a text that is UTF-8 but for few bytes, is damage: None.
    """
    if start and _is_damaged_utf8(raw):
        return None
    window = raw[max(0, start - _WINDOW_BYTES // 4) : start + _WINDOW_BYTES]
    high = sum(byte >= 0x80 for byte in window)
    if high * 4 < len(window) and _between_letters(window):
        return "cp1252"  # single accented letters among ASCII ones
    scores = {name: _score(window, name, frequent) for name, frequent in _CANDIDATES.items()}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] >= _ENOUGH:
        return best
    return "cp1252" if high * 4 < len(window) else None


def _is_damaged_utf8(raw: bytes) -> bool:
    """Whether most characters beyond ASCII are good UTF-8, which no other encoding gives by chance."""
    text = raw.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = sum(character > "\x7f" for character in text[: _WINDOW_BYTES * 4]) - bad
    return good > 8 * bad


def _between_letters(window: bytes) -> bool:
    """Whether most high bytes stand alone beside an ASCII letter: not those of two-byte characters."""
    alone = high = 0
    for before, byte, after in zip(b" " + window, window, window[1:] + b" ", strict=False):
        if byte >= 0x80:
            high += 1
            alone += before < 0x80 and after < 0x80 and (chr(before).isalpha() or chr(after).isalpha())
    return alone * 2 > high


def _score(window: bytes, encoding: str, frequent: Callable[[str], int]) -> float:
    """The share of frequent characters among those beyond ASCII, a point off for each undecodable one."""
    text = window.decode(encoding, "replace")
    beyond = [character for character in text if character > "\x7f"]
    bad = beyond.count("\ufffd")
    return (frequent("".join(beyond)) - bad) / len(beyond) if beyond else 0.0


def _in_ranges(*ranges: tuple[str, str]) -> Callable[[str], int]:
    return lambda text: sum(any(low <= character <= high for low, high in ranges) for character in text)


def _with_lead_bytes(encoding: str, first: int, last: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        leads = (character.encode(encoding, "ignore")[:1] for character in text)
        return sum(first <= lead[0] <= last for lead in leads if lead)

    return count


def _japanese(text: str) -> int:
    """Kana count for the kanji beside them: every Japanese sentence has them."""
    kana = _in_ranges(("\u3041", "\u30fe"))(text)
    kanji = _in_ranges(("\u4e00", "\u9fff"), ("\u3001", "\u3002"))(text)
    return kana + min(kanji, 2 * kana)


_CANDIDATES: Final[dict[str, Callable[[str], int]]] = {
    "shift_jis": _japanese,
    "euc_jp": _japanese,
    "euc_kr": _in_ranges(("\uac00", "\ud7a3")),
    "gb18030": _with_lead_bytes("gb18030", 0xB0, 0xD7),
    "big5": _with_lead_bytes("big5", 0xA4, 0xC6),
    "cp1251": _in_ranges(("\u0430", "\u044f")),
    "koi8-r": _in_ranges(("\u0430", "\u044f")),
    "cp1256": _in_ranges(("\u0621", "\u064a")),
    "cp1253": _in_ranges(("\u03ac", "\u03ce")),
}
