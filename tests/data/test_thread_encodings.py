"""Each thread that encodes much has a copy of the encoding: the same tokens; copies are used again."""

import functools
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiktoken

from nanogpt_cli.data.tokenizers import thread_encodings
from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from nanogpt_cli.data.tokenizers.thread_encodings import own_encoding

LONG = thread_encodings._WORTH_A_COPY_CHARACTERS + 1


@pytest.fixture
def encoding() -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "bytes", pat_str=r"\S+|\s+", mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}
    )


def in_a_thread(work: Callable[[], object]) -> object:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    del thread
    gc.collect()
    return found[0]


def test_a_thread_gets_its_own_only_when_it_has_much_to_do(encoding: tiktoken.Encoding) -> None:
    assert own_encoding(encoding, LONG) is encoding  # the main thread
    assert in_a_thread(lambda: own_encoding(encoding, LONG - 1) is encoding)
    assert in_a_thread(lambda: own_encoding(encoding, LONG) is not encoding)

    def little_by_little() -> list[bool]:
        return [own_encoding(encoding, LONG // 2) is encoding for _ in range(4)]

    assert in_a_thread(little_by_little) == [True, True, False, False]


def test_two_threads_have_two_and_a_later_one_takes_over(encoding: tiktoken.Encoding) -> None:
    both = threading.Barrier(2)

    def own() -> tiktoken.Encoding:
        found = own_encoding(encoding, LONG)
        both.wait(10)
        assert own_encoding(encoding, 1) is found
        return found

    with ThreadPoolExecutor(2) as pool:
        one, other = (future.result() for future in [pool.submit(own), pool.submit(own)])
    assert len({id(encoding), id(one), id(other)}) == 3
    del pool
    gc.collect()
    assert in_a_thread(lambda: own_encoding(encoding, LONG)) in (one, other)


def test_memory_is_bounded(encoding: tiktoken.Encoding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_encodings, "_MOST_IDS", 256)
    both = threading.Barrier(2)

    def own() -> tiktoken.Encoding:
        found = own_encoding(encoding, LONG)
        both.wait(10)
        return found

    with ThreadPoolExecutor(2) as pool:
        found = [future.result() for future in [pool.submit(own), pool.submit(own)]]
    assert sum(each is encoding for each in found) == 1


def test_the_tokens_are_the_same() -> None:
    tokenizer = BpeTokenizer(
        [bytes([i]) for i in range(256)] + [b"th", b"the", b" the"],
        pattern="gpt2",
        special_tokens={},
        end_of_text=None,
    )
    text = "the other theme, the end. Ünïcödé 你好 \n" * 40_000
    alone = tokenizer.encode(text)
    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            for ids in pool.map(tokenizer.encode, [text] * 3):
                assert (ids == alone).all()


def used_once(encoding: tiktoken.Encoding) -> bool:
    return own_encoding(encoding, LONG) is not encoding


def test_an_encoding_nobody_uses_is_forgotten(encoding: tiktoken.Encoding) -> None:
    before = len(thread_encodings._copies)
    other = tiktoken.Encoding(
        "more", pat_str=r".", mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}
    )
    in_a_thread(functools.partial(used_once, other))
    assert len(thread_encodings._copies) == before + 1
    del other
    gc.collect()
    assert len(thread_encodings._copies) == before
