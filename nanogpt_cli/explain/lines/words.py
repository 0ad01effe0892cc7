"""What the explainers of single lines share: the line and its parts, and a loss in other units."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from nanogpt_cli.explain.case import Number
from nanogpt_cli.explain.catalogue import Catalogue

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

    def line(self, text: str, *parts: tuple[str, str]) -> ExplainedLine:
        """A line whose parts are (name of the label, words); parts without words are left out."""
        return ExplainedLine(
            text, tuple((self.say(f"label_{name}"), words) for name, words in parts if words)
        )


def surprise(loss: float) -> Mapping[str, Number]:
    """A loss in nats as perplexity and as bits per token."""
    # exp overflows a float at 709, and beyond a million the figure says nothing more.
    perplexity: Number = math.exp(loss) if loss < math.log(1e6) else math.inf
    return {"loss": loss, "perplexity": perplexity, "bits": loss / math.log(2)}
