"""Text as it streams: whole characters, nothing lost, and stop strings wherever the tokens cut them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.tokenizers.base import ByteTokenizer, CharTokenizer
from nanogpt_cli.engine.text_stream import TextStream, stream_text


@pytest.mark.parametrize("text", ["plain", "¿Qué? niño", "où ça, Noël", "中文 and 😀", ""])
def test_characters_of_several_bytes_stream_whole(text: str) -> None:
    """A byte vocabulary makes three tokens of 中: they appear together, and nothing is lost."""
    tokenizer = ByteTokenizer()
    pieces = list(stream_text(tokenizer.encode(text).tolist(), tokenizer))
    assert pieces == list(text)


def test_text_streams_as_it_is_made() -> None:
    """The first character is there before the second token has been asked for."""
    asked = []

    def tokens() -> Any:
        for token in (0, 1):
            asked.append(token)
            yield token

    stream = stream_text(tokens(), CharTokenizer("añ"))
    assert next(stream) == "a"
    assert asked == [0]
    assert next(stream) == "ñ"


def test_a_character_cut_off_at_the_end_shows_as_a_replacement() -> None:
    assert "".join(stream_text("中".encode()[:2], ByteTokenizer())) == "\ufffd"


# --- Stop strings


def stopped(text: str, *stop: str) -> tuple[list[str], bool]:
    """What is shown after each byte and at the end, and whether a stop string ended it."""
    stream = TextStream(ByteTokenizer(), stop)
    shown = []
    for token in text.encode():
        shown.append(stream.feed(token))
        if stream.stopped:
            return shown, True
    return [*shown, stream.close()], stream.stopped


def test_a_stop_string_ends_the_text_before_it() -> None:
    shown, ended = stopped("Hello\n\nJULIET: I", "\n\n")
    assert ("".join(shown), ended) == ("Hello", True)


def test_what_may_begin_a_stop_string_waits_and_is_not_lost() -> None:
    shown, ended = stopped("a\nb\n", "\n\n")
    assert shown == ["a", "", "\nb", "", "\n"]
    assert not ended


def test_the_stop_string_that_comes_first_counts() -> None:
    assert "".join(stopped("one, two. three", ".", ",")[0]) == "one"


@given(
    text=st.text(alphabet="ab中", max_size=12),
    stop=st.lists(st.text(alphabet="ab中", min_size=1, max_size=4), max_size=3),
)
def test_it_cuts_where_the_whole_text_would_be_cut(text: str, stop: list[str]) -> None:
    """Byte by byte the same as by a search in every beginning of the text."""
    expected, ends = text, False
    for length in range(len(text) + 1):
        if found := [at for string in stop if (at := text[:length].find(string)) >= 0]:
            expected, ends = text[: min(found)], True
            break
    shown, ended = stopped(text, *stop)
    assert ("".join(shown), ended) == (expected, ends)


def test_a_stop_string_may_be_cut_by_a_longer_token() -> None:
    """One token that holds the stop string and more: nothing of it is shown."""
    stream = TextStream(CharTokenizer("abc"), ["b"])
    assert [stream.feed(0), stream.feed(1)] == ["a", ""]
    assert stream.stopped
    assert stream.feed(2) == ""
    assert stream.close() == ""
