"""The built-in corpus that needs no network: the language reference inside every Python."""

from collections.abc import Iterator
from importlib import import_module
from typing import Final

from nanogpt_cli.errors import NanoGPTError

PYTHON_DOCS: Final = "python-docs"


class PythonDocs:
    """The language reference that every Python carries in `pydoc_data`: a corpus without a network.

    About 450 kB of English; its exact text depends on the Python version. Topics come in alphabetical order.
    """

    label = PYTHON_DOCS
    dataset_name = PYTHON_DOCS
    kind = "builtin"
    collection = True
    repeatable = True
    size_bytes: int | None = None
    done_bytes = 0

    def documents(self) -> Iterator[Iterator[str]]:
        """One document per topic."""
        try:
            topics: dict[str, str] = import_module("pydoc_data.topics").topics
        except ImportError:
            raise NanoGPTError(
                "this Python was installed without pydoc_data, which holds the corpus python-docs",
                "use a text file instead: nanogpt prepare input.txt --tokenizer char",
            ) from None
        for topic in sorted(topics):
            yield iter([topics[topic].rstrip() + "\n\n"])
