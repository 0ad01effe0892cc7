"""What the explainers of single lines share: the line and its parts, and a loss in other units."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from nanogpt_cli.explain.case import Number
from nanogpt_cli.explain.catalogue import Catalogue

_MAX_LOSS: Final = math.log(1e6)  # a perplexity beyond a million says nothing more
SLOW: Final = 2.0  # times the usual; below that a line's time needs no reason


@dataclass(frozen=True)
class ExplainedLine:
    """One line of the log and (label, explanation) for each number in it."""

    text: str
    parts: tuple[tuple[str, str], ...]


class Words:
    """The catalogue's sentences about lines; general ones are said at the first line that needs them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._said: set[str] = set()

    def say(self, key: str, /, **numbers: Number) -> str:
        """The sentence `key` with its numbers."""
        return self._catalogue.text("lines", key, **numbers)

    def join(self, texts: Iterable[str]) -> str:
        """Sentences one after the other."""
        return self._catalogue.sentences(texts)

    def once(self, key: str, /, **numbers: Number) -> list[str]:
        """The same as a list, which is empty from the second time on."""
        if key in self._said:
            return []
        self._said.add(key)
        return [self.say(key, **numbers)]

    def loss(self, loss: float) -> str:
        """A loss in nats as perplexity and as bits per token."""
        bits = loss / math.log(2)
        if loss > _MAX_LOSS:
            return self.say("loss_value_huge", loss=loss, bits=bits)
        return self.say("loss_value", loss=loss, perplexity=math.exp(loss), bits=bits)

    def line(self, text: str, *parts: tuple[str, str]) -> ExplainedLine:
        """A line whose parts are (name of the label, words); parts without words are left out."""
        return ExplainedLine(
            text, tuple((self.say(f"label_{name}"), words) for name, words in parts if words)
        )
