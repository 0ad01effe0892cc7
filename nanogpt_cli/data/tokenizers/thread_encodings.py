"""A copy of a tiktoken encoding for each thread that encodes much.

Threads that share one wait for each other inside its pattern matcher, whose caches are pooled: on two cores
they encode 21 MB/s of English together with GPT-2's vocabulary, 28 with a copy each, one of them 14.
"""

import threading
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tiktoken import Encoding

_WORTH_A_COPY_CHARACTERS: Final = 1 << 20  # a copy costs as much time as encoding about half of this
# An id costs about 300 bytes of tables, so all copies together stay below 300 MB.
_MOST_IDS: Final = 1_000_000


class _Copies:
    """The copies of one encoding: those in use, by thread, and those whose thread has ended."""

    def __init__(self, encoding: "Encoding") -> None:
        # Not the encoding itself: the table of all of these is to forget it with its last user.
        self._vocabulary = (
            encoding.name,
            encoding._pat_str,
            encoding._mergeable_ranks,
            encoding._special_tokens,
        )
        self._left = _MOST_IDS // max(1, encoding.n_vocab)
        self._free: list[Encoding] = []
        self._lock = threading.Lock()
        self.local = threading.local()

    def lend(self) -> "Encoding | None":
        """A copy for the current thread, until it ends; None when there are enough."""
        with self._lock:
            if not self._free:
                if self._left == 0:
                    return None
                self._left -= 1
                self._free.append(self._new())
            copy = self._free.pop()
        weakref.finalize(threading.current_thread(), self._free.append, copy)
        return copy

    def _new(self) -> "Encoding":
        import tiktoken

        name, pattern, ranks, special_tokens = self._vocabulary
        return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special_tokens)


_copies: weakref.WeakKeyDictionary["Encoding", _Copies] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def own_encoding(encoding: "Encoding", n_characters: int) -> "Encoding":
    """`encoding`, or the current thread's copy of it once the thread has more than a little to encode.

    `n_characters` are those about to be encoded. The main thread needs no copy: the others have theirs.
    """
    if threading.current_thread() is threading.main_thread():
        return encoding
    with _lock:
        copies = _copies.get(encoding)
        if copies is None:
            copies = _copies[encoding] = _Copies(encoding)
    local = copies.local
    if (own := getattr(local, "encoding", None)) is not None:
        copy: Encoding = own
        return copy
    local.characters = getattr(local, "characters", 0) + n_characters
    if local.characters <= _WORTH_A_COPY_CHARACTERS:
        return encoding
    local.encoding = copies.lend() or encoding
    chosen: Encoding = local.encoding
    return chosen
