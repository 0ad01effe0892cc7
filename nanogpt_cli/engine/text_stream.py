"""Text from tokens as they come: characters appear once they are whole, and a stop string ends the text."""

import codecs
from collections.abc import Iterable, Iterator, Sequence

from nanogpt_cli.data.tokenizers.base import Tokenizer


class TextStream:
    """Turns ids into text that may be shown. `stopped` once one of the stop strings stood in it.

    What could be the beginning of a stop string is held back until the next token decides.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = [string for string in stop if string]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._bytes: dict[int, bytes] = {}  # of the tokens met so far

    def feed(self, token: int) -> str:
        """The text that this token completes; empty where it is in the middle of something."""
        if (met := self._bytes.get(token)) is None:
            met = self._bytes[token] = self._tokenizer.decode_bytes([token])
        text = self._decoder.decode(met)
        return self._release(text) if self._stop else text

    def close(self) -> str:
        """What is left at the end; a character cut off shows as a replacement."""
        text = self._release(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        if found := [at for string in self._stop if (at := text.find(string)) >= 0]:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        held = max((_overlap(text, string) for string in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, string: str) -> int:
    """The length of the longest end of `text` that `string` begins with."""
    longest = min(len(text), len(string) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)


def stream_text(tokens: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Decode ids as they come; a character split over several tokens appears once it is whole."""
    stream = TextStream(tokenizer)
    for token in tokens:
        if text := stream.feed(token):
            yield text
    if rest := stream.close():
        yield rest
