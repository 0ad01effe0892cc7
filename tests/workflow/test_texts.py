"""Any text a person can have: prepared, trained on for 20 iterations, sampled, and never changed."""

import json
from pathlib import Path

import numpy as np
import pytest

from nanogpt_cli.data.dataset import Dataset, open_dataset
from nanogpt_cli.data.tokenizers.base import save_tokenizer
from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from tests.gpt2_vocabulary import seed_tiktoken_cache
from tests.helpers import run_cli

BLOCK_SIZE = 8
TINY = (
    *("--preset", "cpu-tiny", "--device=cpu", "--dtype=float32", "--compile=False", "--threads=1", "--quiet"),
    *("--n_layer=1", "--n_head=1", "--n_embd=8", f"--block_size={BLOCK_SIZE}", "--batch_size=2"),
    *("--max_iters=20", "--lr_decay_iters=20", "--warmup_iters=2", "--eval_interval=20", "--eval_iters=1"),
)
TOKENIZERS = {
    "char": ("--tokenizer", "char"),
    "byte": ("--tokenizer", "byte"),
    "gpt2": ("--tokenizer", "gpt2"),
    "bpe": ("--tokenizer", "bpe", "--vocab-size", "300"),
}
END = "<|endoftext|>"
# A text, and a part of it to prompt with.
TEXTS = {
    "chinese": ("道可道，非常道；名可名，非常名。無名天地之始，有名萬物之母。\n", "名可名"),
    "arabic": ("كَتَبَ الطّالِبُ الدَّرْسَ، ثُمَّ قَرَأَهُ مَرَّةً أُخْرَى.\n", "الدَّرْسَ"),
    "hindi": ("मैं प्रतिदिन विद्यालय जाता हूँ; क्षत्रिय ज्ञानी है।\n", "क्षत्रिय"),
    "emoji": ("👩‍👩‍👧‍👦 and 👍🏽 and 🏳️‍🌈 and 🇫🇷 and ☕️ and 🧑🏿‍🚀!\n", "👩‍👩‍👧‍👦 and 👍🏽"),
    "line endings": (
        "one\ntwo\r\nthree\rfour\n\r\nfive\u2028six\u2029seven\x85eight\x0c\x0b\t end \r",
        "two\r\nthree\rfour",
    ),
    "special tokens": (
        f"a {END}b<|im_start|>c</s>{END}{END} [UNK] <|endof{END}text|>\n",
        f"b<|im_start|>c</s>{END}",
    ),
    "marks of order": (
        "\ufeffBOM in front, \ufeff inside, e\u0301 and é, \u200f right-to-left, \x01 and \x7f\n",
        "\ufeff inside",
    ),
}


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2's vocabulary, and the peak of this CPU, which is measured once."""
    folder = tmp_path_factory.mktemp("caches")
    seed_tiktoken_cache(folder)
    return folder


@pytest.fixture(autouse=True)
def shared_caches(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one person's home folder would have them."""
    monkeypatch.setenv("NANOGPT_CACHE_DIR", str(caches))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(caches))


def checked(*arguments: object) -> str:
    result = run_cli(*arguments)
    assert result.code == 0, result.err
    return result.out


def ids(dataset: Dataset) -> list[int]:
    return [*dataset.tokens("train")[:].tolist(), *dataset.tokens("val")[:].tolist()]


def train_and_sample(prompt: str, *, evaluate: bool = True) -> None:
    checked("train", *TINY)
    if evaluate:
        assert np.isfinite(json.loads(checked("eval", "--json"))["loss"])
    document = json.loads(checked("sample", "--prompt", prompt, "--max-new-tokens", 5, "--json"))
    assert document["prompt"] == prompt
    assert document["samples"][0].startswith(prompt)
    assert checked("sample", "--prompt", prompt, "--max-new-tokens", 5, "--quiet").startswith(prompt)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str, tokenizer: str) -> None:
    line, prompt = TEXTS[name]
    text = line * 40
    Path("input.txt").write_bytes(text.encode("utf-8"))
    prepare(tokenizer, "input.txt")
    dataset = open_dataset("input")
    assert dataset.tokenizer is not None
    expected = text.removeprefix("\ufeff")  # in front it only says that a file is UTF-8
    assert dataset.tokenizer.decode_bytes(ids(dataset)) == expected.encode("utf-8")
    assert dataset.tokenizer.end_of_text not in ids(dataset)  # one text: what spells it is text
    train_and_sample(prompt)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_folder_of_files_of_one_character(tokenizer: str) -> None:
    characters = [chr(0x4E00 + i % 40) for i in range(150)]
    for number, character in enumerate(characters):
        path = Path(f"poems/{number % 7}/{number}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(character, encoding="utf-8")
    prepare(tokenizer, "poems")
    dataset = open_dataset("poems")
    assert dataset.tokenizer is not None
    end = dataset.tokenizer.end_of_text
    text = dataset.tokenizer.decode([i for i in ids(dataset) if i != end])
    assert sorted(text) == sorted(characters)
    assert ids(dataset).count(end) == (0 if end is None else len(characters))  # type: ignore[arg-type]
    train_and_sample(characters[0])


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("unbroken", [False, True])
def test_one_long_line(tokenizer: str, unbroken: bool) -> None:
    """2 MB without a newline: as words, and as one word of two letters that never ends."""
    text = (
        "abab" * 500_000 if unbroken else "".join(f"word {i * i % 9973} " for i in range(200_000))[:2_000_000]
    )
    Path("line.txt").write_text(text, encoding="utf-8")
    prepare(tokenizer, "line.txt")
    dataset = open_dataset("line")
    assert dataset.tokenizer is not None
    assert dataset.tokenizer.decode_bytes(ids(dataset)) == text.encode()
    train_and_sample(text[:9], evaluate=False)  # of 200,000 bytes: slow


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_one_character_is_too_little(tokenizer: str) -> None:
    Path("input.txt").write_text("é", encoding="utf-8")
    result = run_cli("prepare", "input.txt", *TOKENIZERS[tokenizer])
    assert (result.code, result.out) == (1, "")
    error, hint = result.err.splitlines()[-2:]
    assert error.startswith("error: input.txt holds 1 character, too little")
    assert hint.startswith("hint: ")
    assert not Path("data").exists() or not list(Path("data").iterdir())


def prepare(tokenizer: str, source: str) -> None:
    checked("prepare", source, *TOKENIZERS[tokenizer], "--block-size", BLOCK_SIZE, "--quiet")


def test_ids_beyond_16_bits() -> None:
    """A vocabulary of every pair of bytes, 65,792 ids: the text's own come last and need 4 bytes."""
    text = "to be or not to be, that is the question\n" * 40
    singles = [bytes([i]) for i in range(256)]
    pairs = sorted((bytes([a, b]) for a in range(256) for b in range(256)), key=text.encode().__contains__)
    wide = BpeTokenizer(singles + pairs, pattern="gpt2", special_tokens={}, end_of_text=None)
    Path("tokenizers").mkdir()
    save_tokenizer(wide, Path("tokenizers"))
    Path("input.txt").write_text(text, encoding="utf-8")
    checked("prepare", "input.txt", "--tokenizer", "tokenizers", "--block-size", BLOCK_SIZE, "--quiet")
    dataset = open_dataset("input")
    assert dataset.tokenizer is not None
    assert dataset.vocab_size == 65_792
    assert (dataset.dtype, dataset.tokens("train").dtype) == ("<u4", "<u4")  # type: ignore[attr-defined]
    assert max(ids(dataset)) > 65_535
    assert dataset.tokenizer.decode(ids(dataset)) == text
    assert not Path("data/input/meta.pkl").exists()  # nanoGPT knows 2-byte ids alone
    train_and_sample("to be")

    path = Path("data/input/val.bin")
    raw = path.read_bytes()
    size = len(raw) // 4
    for damaged, message in (
        (raw[:-4], f"val.bin is truncated: it has {size - 1:,} of {size:,} tokens"),
        (raw[:-1], f"val.bin is damaged: {len(raw) - 1:,} bytes are not a whole number of 4-byte token ids"),
        (raw + b"\0" * 4, f"val.bin has {size + 1:,} tokens where meta.json says {size:,}"),
        (b"\1\1\1\1" + raw[4:], "val.bin has changed since it was prepared"),
    ):
        path.write_bytes(damaged)
        for command in (("train", *TINY), ("eval",)):
            result = run_cli(*command)
            error, hint = result.err.splitlines()[-2:]
            assert result.code == 1
            assert error.startswith(f"error: data/input/{message}")
            assert hint.startswith("hint: nanogpt prepare input.txt --tokenizer tokenizers --name input ")
            assert hint.endswith(" --overwrite")
