"""One token per UTF-8 byte: 256 ids, every text in every language, nothing to learn or to download."""

from collections.abc import Sequence

import numpy as np

from nanogpt_cli.data.tokenizers.char import check_ids


def utf8(text: str) -> bytes:
    """UTF-8 of any Python string: surrogate pairs are joined, lone ones become U+FFFD (as tiktoken does)."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode("utf-8")


class ByteTokenizer:
    """The id of a byte is its value."""

    kind = "byte"
    name = "byte"
    vocab_size = 256
    end_of_text: int | None = None

    def encode(self, text: str, *, what: str = "the prompt") -> np.ndarray:
        """Ids of `text`, (UTF-8 length,) uint16; no text can fail, so `what` is never needed."""
        return np.frombuffer(utf8(text), dtype=np.uint8).astype(np.uint16)

    def safe_cut(self, text: str) -> int:
        """A text can be cut anywhere."""
        return len(text)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`; bytes that are no UTF-8, and ids that are no byte, show as U+FFFD."""
        array = np.asarray(ids, dtype=np.int64)
        # 0xFF occurs nowhere in UTF-8, so it decodes to one U+FFFD and disturbs nothing around it.
        valid = np.where((array >= 0) & (array < self.vocab_size), array, 0xFF)
        return valid.astype(np.uint8).tobytes().decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes themselves; an id above 255 is an error."""
        check_ids(ids, self.vocab_size)
        return np.asarray(ids, dtype=np.int64).astype(np.uint8).tobytes()

    def token_bytes(self) -> np.ndarray:
        """One byte each, (256,) int64."""
        return np.ones(self.vocab_size, dtype=np.int64)

    def to_document(self) -> dict[str, object]:
        """What a tokenizer file says of it."""
        return {"kind": self.kind, "name": self.name}
