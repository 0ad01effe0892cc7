"""Which encoding a text has: from its byte order mark, its NUL pattern, or `--encoding`.

Byte order marks as in the Unicode standard, section 23.8. UTF-16 without one shows in its zeros: wherever it
holds ASCII, every second byte is NUL.
"""

import codecs
import contextlib
import difflib
import unicodedata
from dataclasses import dataclass
from encodings.aliases import aliases
from typing import Final

from nanogpt_cli.errors import UsageError

# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Python's names of these that tell the byte order by the mark.
_BY_MARK: Final = ("utf-16", "utf-32")
# Codecs from bytes to text that are no encoding of a text file; some give lone surrogates.
_NOT_FOR_FILES: Final = ("utf-7", "unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined")
_ENOUGH_USUAL: Final = 0.9
_CONTROLS_IN_TEXT: Final = frozenset("\t\n\v\f\r\x1a\x1b")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How to turn a text's bytes into characters."""

    name: str  # as Python's codecs call it
    mark_bytes: int = 0  # length of the byte order mark, which is no part of the text
    detected: str | None = None  # what told it, where it is not the usual UTF-8

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.name.upper().removesuffix("-LE").removesuffix("-BE")

    @property
    def nul_is_a_byte(self) -> bool:
        """Whether a NUL byte is always the character NUL."""
        return not self.name.startswith(("utf-16", "utf-32"))


def check_encoding(name: str) -> str:
    """The codec's own name for `--encoding NAME`; an unknown one raises UsageError with near ones."""
    try:
        canonical = codecs.lookup(name).name
        codecs.getincrementaldecoder(canonical)
        with contextlib.suppress(UnicodeError):  # these bytes may be no text in it
            bytes(4).decode(canonical)  # refuses hex, base64 and others that give no text
    except (LookupError, ValueError):
        canonical = ""
    if canonical and canonical.replace("_", "-") not in _NOT_FOR_FILES:
        return canonical
    pairs = ((alias.replace("_", "-"), codec.replace("_", "-")) for alias, codec in aliases.items())
    names = {name for pair in pairs if pair[1] not in _NOT_FOR_FILES for name in pair}
    known = sorted(name for name in names - {"utf"} if not name[0].isdigit())
    near = difflib.get_close_matches(name.lower().replace("_", "-"), known, n=3, cutoff=0.5)
    others = f"; near it are {', '.join(near)}" if near else ""
    raise UsageError(
        f"there is no encoding {name!r}{others}",
        f"--encoding {near[0] if near else 'cp1252'} (others: utf-8, utf-16, gb18030, shift_jis, cp1251 …)",
    )


def detect(head: bytes, requested: str | None) -> Encoding:
    """The encoding of a text that begins with `head`; `requested` is a checked `--encoding`."""
    marked = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), None)
    if requested is not None:
        if marked and requested in (marked[1], "utf-8-sig" if marked[1] == "utf-8" else marked[1][:6]):
            return Encoding(name=marked[1], mark_bytes=len(marked[0]))
        # Without a mark: the order that Windows writes; the big-endian one is seldom seen.
        if requested in _BY_MARK:
            return Encoding(name=f"{requested}-le")
        return Encoding(name="utf-8" if requested == "utf-8-sig" else requested)
    if marked:
        mark, name = marked
        told = None if name == "utf-8" else "its byte order mark"
        return Encoding(name=name, mark_bytes=len(mark), detected=told)
    if b"\0" in head and (utf16 := _unmarked_utf16(head)) is not None:
        return Encoding(name=utf16, detected="its zero bytes")
    return Encoding(name="utf-8")


def _unmarked_utf16(head: bytes) -> str | None:
    """UTF-16 of either order if bytes with NULs among them are text in it; None for binary data."""
    if len(head) % 2:
        return None
    letters = head.replace(b"\0", b"")
    if (
        letters.isascii()
        and letters.decode().replace("\n", " ").isprintable()
        and 3 * len(letters) > 2 * len(head)
    ):
        return None  # ASCII with a few NULs in it: pairs of its letters would look like Chinese
    shares = {name: _share_of_usual(name, head) for name in ("utf-16-le", "utf-16-be")}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] > _ENOUGH_USUAL else None


def _share_of_usual(name: str, head: bytes) -> float:
    """How many of the characters are usual ones; 0 where one of them cannot be in a text."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return 0.0
    for character in set(text) - _CONTROLS_IN_TEXT:
        if unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs"):
            return 0.0
    # U+6100 and alike are Latin letters in the other order, but U+4E00 is very frequent in Chinese.
    usual = sum(ord(character) & 0xFF != 0 or character == "\u4e00" for character in text)
    return usual / len(text)
