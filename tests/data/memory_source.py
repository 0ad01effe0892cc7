"""A source of documents in memory, in whatever pieces a test wants."""

from collections.abc import Iterator, Sequence


class MemorySource:
    """`documents` are lists of pieces; `size_bytes` is unknown, as for many a stream."""

    label = "memory"
    dataset_name = "memory"
    kind = "memory"
    size_bytes: int | None = None
    done_bytes = 0

    def __init__(
        self, documents: Sequence[Sequence[str]], *, collection: bool = True, repeatable: bool = True
    ) -> None:
        self.pieces = documents
        self.collection = collection
        self.repeatable = repeatable
        self.passes = 0

    def documents(self) -> Iterator[Iterator[str]]:
        """Each document; a source that is not repeatable gives nothing the second time."""
        self.passes += 1
        assert self.repeatable or self.passes == 1, "this source can be read only once"
        for pieces in self.pieces:
            yield iter(pieces)

    @property
    def texts(self) -> list[str]:
        """The documents as wholes, without the empty ones."""
        return [text for text in map("".join, self.pieces) if text]
