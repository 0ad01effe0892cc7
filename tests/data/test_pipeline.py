"""The parallel pipeline: the tokens of a simple loop, whatever the chunks, the threads and the pieces."""

import hashlib
import json
import threading
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt_cli.data.preparing import streaming, survey
from nanogpt_cli.data.preparing.alphabet import Alphabet
from nanogpt_cli.data.preparing.pipeline import Lane, in_order, thread_count
from nanogpt_cli.data.preparing.sampling import EvenSample
from nanogpt_cli.data.preparing.split_writer import Input, SplitWriter
from nanogpt_cli.data.preparing.splitting import Split, choose_split, split_from_document
from nanogpt_cli.data.preparing.survey import Survey
from nanogpt_cli.data.tokenizers.base import ByteTokenizer, TiktokenTokenizer, Tokenizer, build_tokenizer
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import NullReporter
from tests.data.memory_source import MemorySource

LETTERS = "ab c.,é中文😀\n12'"
DOCUMENTS = st.lists(st.lists(st.text(LETTERS, max_size=20), max_size=4), min_size=1, max_size=12)
SIZES = st.integers(1, 60)
THREADS = st.integers(1, 4)


def look(source: MemorySource, threads: int = 1, **options: object) -> Survey:
    return survey.survey(source, NullReporter(), threads=threads, **options)  # type: ignore[arg-type]


# ---- the survey


@given(DOCUMENTS, SIZES, THREADS)
def test_survey_counts_as_a_simple_loop_does(documents: list[list[str]], size: int, threads: int) -> None:
    source, alphabet = MemorySource(documents), Alphabet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "BATCH_CHARACTERS", size)
        found = look(source, threads, alphabet=alphabet, checksum=True)
    whole = "".join(source.texts)
    assert found == Survey(
        characters=len(whole),
        bytes=len(whole.encode()),
        documents=len(source.texts),
        sha256=hashlib.sha256(whole.encode()).hexdigest(),
    )
    assert look(source).sha256 is None
    assert alphabet.characters == "".join(sorted(set(whole)))


@given(st.lists(st.text() | st.text("abcé\xff") | st.text("中文“”") | st.text("😀🏽a"), max_size=8))
def test_alphabet_of_any_unicode(texts: list[str]) -> None:
    alphabet = Alphabet()
    for text in texts:
        alphabet.add(text)
    assert alphabet.characters == "".join(sorted(set("".join(texts))))


def test_half_a_surrogate_pair_is_an_error() -> None:
    with pytest.raises(NanoGPTError, match="memory holds U\\+D83D, half of a surrogate pair"):
        look(MemorySource([["fine ", "x\ud83d"]]))


# ---- the sample


@given(st.lists(st.lists(st.text("abc", min_size=1), min_size=1), max_size=5))
def test_a_small_text_is_sampled_whole(batches: list[list[str]]) -> None:
    sample = EvenSample(1 << 20)
    for batch in batches:
        sample.add(batch)
    assert list(sample) == [text for batch in batches for text in batch]


def test_a_large_text_is_sampled_evenly_and_within_the_budget() -> None:
    sample = EvenSample(20 << 16)
    for number in range(300):
        sample.add([f"{number:04}" * (1 << 14)])
    kept = list(sample)
    assert 10 << 16 <= sum(map(len, kept)) <= 20 << 16
    numbers = [int(text[:4]) for text in kept]
    assert len(set(np.diff(numbers))) == 1  # at equal distances
    assert numbers[0] == 0
    assert numbers[-1] >= 280


# ---- writing


def expected(source: MemorySource, tokenizer: Tokenizer, split: Split) -> dict[str, list[int]]:
    """Tokens and documents as the rules say, without chunks, threads or haste."""
    end = [tokenizer.end_of_text] if source.collection and tokenizer.end_of_text is not None else []
    tokens: dict[str, list[int]] = {"train": [], "val": []}
    for number, text in enumerate(source.texts):
        room = split.train_characters(number)
        for name, part in (("train", text[:room]), ("val", text[room:])):
            if part:
                tokens[name] += tokenizer.encode(part).tolist()
                tokens[name] += end if name == "val" or len(text) <= room else []
    return tokens


def written(
    source: MemorySource, tokenizer: Tokenizer, split: Split, folder: Path, threads: int
) -> tuple[dict[str, list[int]], SplitWriter]:
    found = look(source)
    writer = SplitWriter(
        [Input(source=source, found=found, split=split)],
        tokenizer,
        folder,
        NullReporter(),
        threads=threads,
        count_ids=True,
        record=lambda mark: None,
    )
    metas = writer.write()
    tokens = {name: np.fromfile(folder / f"{name}.bin", dtype=np.uint16).tolist() for name in metas}
    for name, meta in metas.items():
        raw = (folder / f"{name}.bin").read_bytes()
        assert (meta.tokens, meta.sha256) == (len(raw) // 2, hashlib.sha256(raw).hexdigest())
    assert sum(meta.bytes for meta in metas.values()) == found.bytes
    return tokens, writer


@settings(max_examples=60)
@given(DOCUMENTS, SIZES, THREADS, st.sampled_from(["char", "byte", "gpt2"]), st.booleans(), st.data())
def test_files_hold_the_tokens_of_the_text(
    tmp_path_factory: pytest.TempPathFactory,
    gpt2: TiktokenTokenizer,
    documents: list[list[str]],
    size: int,
    threads: int,
    kind: str,
    by_document: bool,
    data: st.DataObject,
) -> None:
    if by_document:
        source = MemorySource(documents)
        split = Split(rule="documents", val_fraction=0.4, seed=data.draw(st.integers(0, 9)))
    else:
        source = MemorySource([[piece for pieces in documents for piece in pieces]], collection=False)
        split = Split(rule="position", position=data.draw(st.integers(0, sum(map(len, source.texts)))))
    tokenizer = gpt2 if kind == "gpt2" else build_tokenizer(kind, LETTERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "CHUNK_CHARACTERS", size)
        tokens, writer = written(source, tokenizer, split, tmp_path_factory.mktemp("out"), threads)
    assert tokens == expected(source, tokenizer, split)
    assert writer.ids_used == len({i for ids in tokens.values() for i in ids})


def test_a_text_that_grows_between_the_passes_is_noticed(tmp_path: Path) -> None:
    source = MemorySource([["abc"], ["def"]])
    found = look(source)
    source.pieces = [["abc"], ["def", "g"]]
    job = Input(source=source, found=found, split=Split(rule="position", position=3))
    writer = SplitWriter(
        [job],
        ByteTokenizer(),
        tmp_path,
        NullReporter(),
        threads=2,
        count_ids=False,
        record=lambda mark: None,
    )
    with pytest.raises(NanoGPTError, match="memory changed while it was being read"):
        writer.write()


# ---- which side


def drawn(sizes: list[int], fraction: float, seed: int) -> set[int]:
    """The documents of these many characters that validate."""
    found = Survey(characters=sum(sizes), bytes=sum(sizes), documents=len(sizes))
    split = choose_split(
        found, sizes=sizes, collection=True, side=None, val_fraction=fraction, seed=seed, label="memory"
    )
    assert split_from_document(json.loads(json.dumps(split.to_document()))) == split
    assert split.rule == "documents"
    return {number for number in range(len(sizes)) if split.train_characters(number) == 0}


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=300), st.floats(0.001, 0.999), st.integers(0, 5))
def test_both_sides_get_a_document(sizes: list[int], fraction: float, seed: int) -> None:
    val = drawn(sizes, fraction, seed)
    assert 0 < len(val) < len(sizes)
    assert drawn(sizes, fraction, seed) == val


@given(st.lists(st.integers(1, 1000), min_size=40, max_size=300), st.floats(0.05, 0.5), st.integers(0, 5))
def test_the_share_of_the_text_is_the_fraction(sizes: list[int], fraction: float, seed: int) -> None:
    """Off by less than half of the longest document that may validate."""
    wanted = fraction * sum(sizes)
    if min(sizes) < 2 * wanted:
        got = sum(sizes[number] for number in drawn(sizes, fraction, seed))
        left = [sizes[number] for number in range(len(sizes)) if number not in drawn(sizes, fraction, seed)]
        assert got - wanted <= max(sizes) / 2
        assert wanted - got <= min(left) / 2


def test_a_document_far_too_long_to_validate_trains() -> None:
    for seed in range(20):
        val = drawn([10] * 10 + [1000] + [10] * 10, 0.1, seed)
        assert 10 not in val
        assert len(val) == 12
    assert len({frozenset(drawn([10] * 30, 0.1, seed)) for seed in range(5)}) == 5, "the seed draws"


def test_the_survey_measures_each_document() -> None:
    source, sizes = MemorySource([["ab", "", "c"], [""], ["de"], []]), array("Q")
    look(source, sizes=sizes)
    assert list(sizes) == [3, 2]


def test_of_very_many_documents_about_the_fraction_is_drawn() -> None:
    found = Survey(characters=1, bytes=1, documents=100_000)
    split = choose_split(found, collection=True, side=None, val_fraction=0.1, seed=1, label="memory")
    count = sum(split.train_characters(number) == 0 for number in range(100_000))
    assert 9_500 < count < 10_500
    other = choose_split(found, collection=True, side=None, val_fraction=0.1, seed=2, label="memory")
    assert any(split.train_characters(i) != other.train_characters(i) for i in range(100))


def test_one_document_is_split_by_position() -> None:
    found = Survey(characters=100, bytes=100, documents=1)
    split = choose_split(found, collection=True, side=None, val_fraction=0.1, seed=1, label="memory")
    assert (split.rule, split.position) == ("position", 90)


# ---- threads


def ours() -> list[str]:
    """Names of the pipeline's threads that are still alive."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("prepare", "lane"))]


@given(st.lists(st.integers()), st.integers(1, 5))
def test_in_order_is_map(numbers: list[int], threads: int) -> None:
    assert list(in_order(lambda n: n * n, numbers, threads=threads)) == [n * n for n in numbers]


def test_in_order_reads_ahead_only_a_little() -> None:
    """Constant memory: a fast reader must wait for a slow encoder."""
    read = []

    def items() -> object:
        for number in range(1000):
            read.append(number)
            yield number

    results = in_order(lambda n: n, items(), threads=3)  # type: ignore[arg-type]
    assert next(results) == 0
    assert len(read) <= 2 * 3 + 2
    results.close()
    assert not ours()


def test_errors_of_items_and_of_work_come_out() -> None:
    def broken() -> object:
        yield 1
        raise NanoGPTError("the source broke", "mend it")

    with pytest.raises(NanoGPTError, match="the source broke"):
        list(in_order(lambda n: n, broken(), threads=2))  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda n: 1 // n, [1, 0, 1], threads=2))
    assert not ours()


def test_a_lane_keeps_the_order_and_tells_errors() -> None:
    done: list[int] = []
    with Lane() as lane:
        for number in range(100):
            lane.do(done.append, number)
        lane.wait()
    assert done == list(range(100))
    with Lane() as lane:
        lane.do(int, "no number")
        with pytest.raises(ValueError, match="no number"):
            lane.wait()
    assert not ours()


def test_thread_count() -> None:
    assert thread_count(7) == 7
    assert thread_count(None) >= 1
