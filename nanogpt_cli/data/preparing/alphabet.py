"""Which characters occur in a text, found at the speed of memory.

After the first pages of a text nearly every character has been met before. So each stretch is compared with
a table of those known, which needs no Python code per character, and only what is new is looked at closely.
"""

import threading

import numpy as np

from nanogpt_cli.data.tokenizers.char import MAX_CODE_POINTS, code_units


class Alphabet:
    """Collects the characters of many texts; several threads may add at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = np.zeros(MAX_CODE_POINTS, dtype=bool)
        self._known_latin1 = b""

    def add(self, text: str) -> None:
        """Every character of `text`."""
        try:
            raw = text.encode("latin-1")
        except UnicodeEncodeError:
            self._add_codes(code_units(text))
            return
        if rest := raw.translate(None, delete=self._known_latin1):
            with self._lock:
                self._known[np.frombuffer(bytes(set(rest)), dtype=np.uint8)] = True
                self._known_latin1 = np.flatnonzero(self._known[:256]).astype(np.uint8).tobytes()

    def _add_codes(self, codes: np.ndarray) -> None:
        known = self._known.take(codes)
        if not known.all():
            with self._lock:
                self._known[codes[~known]] = True
                self._known_latin1 = np.flatnonzero(self._known[:256]).astype(np.uint8).tobytes()

    @property
    def characters(self) -> str:
        """All of them, sorted by code point."""
        return np.flatnonzero(self._known).astype("<u4").tobytes().decode("utf-32-le")
