"""`--tokenizer`: each name and path gives the tokenizer it should, and mistakes are named before any work."""

from pathlib import Path

import pytest

from nanogpt_cli.data.tokenizers.base import (
    TOKENIZER_FILE,
    Tokenizer,
    build_tokenizer,
    save_tokenizer,
    tokenizer_hash,
)
from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from nanogpt_cli.data.tokenizers.bpe_training import SAMPLE_BYTES
from nanogpt_cli.data.tokenizers.recipes import TokenizerOptions, choose_recipe
from nanogpt_cli.errors import EXIT_USAGE, NanoGPTError, UsageError
from nanogpt_cli.events import Notice, NullReporter
from tests.data.conftest import Recorder
from tests.data.tokenizer_samples import CORPUS, hugging_face, trained, write_json


def build(name: str, text: str = CORPUS, **options: object) -> Tokenizer:
    recipe = choose_recipe(name, TokenizerOptions(**options))  # type: ignore[arg-type]
    assert recipe.name == name
    return recipe.build(
        alphabet="".join(sorted(set(text))) if recipe.needs_alphabet else "",
        sample=[text] if recipe.sample_bytes else [],
        reporter=NullReporter(),
    )


def test_names(gpt2: Tokenizer) -> None:
    assert [(build(name).kind, build(name).name) for name in ("char", "byte", "gpt2")] == [
        ("char", "char"),
        ("byte", "byte"),
        ("tiktoken", "gpt2"),
    ]
    assert choose_recipe("char", TokenizerOptions()).needs_alphabet
    assert choose_recipe("bpe", TokenizerOptions()).sample_bytes == SAMPLE_BYTES


def test_bpe_has_the_options_asked_for() -> None:
    tokenizer = build("bpe", vocab_size=600, pattern="gpt2", special_tokens=("<|im_start|>", "<|endoftext|>"))
    assert isinstance(tokenizer, BpeTokenizer)
    assert (tokenizer.vocab_size, tokenizer.pattern) == (600, "gpt2")
    assert tokenizer.special_tokens == {"<|endoftext|>": 598, "<|im_start|>": 599}
    assert tokenizer.end_of_text == 598


@pytest.mark.parametrize(
    ("tokenizer", "options", "message"),
    [
        (
            "bpe",
            {"vocab_size": 256},
            "--vocab-size 256 does not lie between 257 (256 bytes and 1 special",
        ),
        (
            "bpe",
            {"vocab_size": 258, "special_tokens": ("<a>", "<b>")},
            "between 259 (256 bytes and 3 special",
        ),
        ("bpe", {"vocab_size": 10**9}, "and 1,048,576"),
        ("bpe", {"special_tokens": ("",)}, "'' cannot be a special token"),
        ("bpe", {"special_tokens": ("\udce9",)}, "cannot be a special token"),
        ("bpe", {"pattern": "gpt5"}, "there is no --pattern 'gpt5'"),
        ("char", {"vocab_size": 500}, "--vocab-size is for a tokenizer trained here, and char is ready made"),
        ("gpt2", {"pattern": "gpt2"}, "--pattern is for a tokenizer trained here"),
        ("byte", {"special_tokens": ("<a>",)}, "--special-token is for a tokenizer trained here"),
        ("gtp2", {}, "there is no tokenizer 'gtp2'"),
        ("data/nowhere", {}, "there is no tokenizer 'data/nowhere': no such file or folder"),
        ("tokenizer.json", {}, "there is no tokenizer 'tokenizer.json'"),
    ],
)
def test_mistakes_are_usage_errors(tokenizer: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_recipe(tokenizer, TokenizerOptions(**options))  # type: ignore[arg-type]
    assert message in caught.value.message
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.hint
    caught.value.message.encode()


def test_257_ids_are_the_fewest() -> None:
    assert build("bpe", vocab_size=257).vocab_size == 257


# ---- paths


@pytest.mark.parametrize(
    "place", ["data/first", f"data/first/{TOKENIZER_FILE}", "out/run", "out/run/checkpoints/i"]
)
def test_a_tokenizer_of_ours(place: str) -> None:
    first = trained()
    for folder in ("data/first", "out/run/checkpoints/i"):
        Path(folder).mkdir(parents=True)
    for folder in ("data/first", "out/run"):
        save_tokenizer(first, Path(folder))
    assert tokenizer_hash(build(place)) == tokenizer_hash(first)


@pytest.mark.parametrize("place", ["model", "model/tokenizer.json"])
def test_a_tokenizer_of_hugging_faces(place: str) -> None:
    write_json(hugging_face(), "model/tokenizer.json")
    assert build(place).name == "hf"


def test_notices_of_a_tokenizer_json_are_passed_on(recorder: Recorder) -> None:
    write_json(hugging_face() | {"normalizer": {"type": "NFC"}})
    choose_recipe("tokenizer.json", TokenizerOptions(), recorder)
    assert [type(event) for event in recorder.events] == [Notice]


def test_a_vocabulary_of_nanogpts() -> None:
    from nanogpt_cli.data.nanogpt_folder import meta_pkl

    Path("shakespeare_char").mkdir()
    raw = meta_pkl(build_tokenizer("char", "abc"))
    assert raw is not None
    Path("shakespeare_char/meta.pkl").write_bytes(raw)
    assert build("./shakespeare_char", "cab").vocab_size == 3


@pytest.mark.usefixtures("gpt2")
@pytest.mark.parametrize("name", ["char", "gpt2", "bpe"])
def test_a_name_comes_before_a_folder_of_that_name(name: str) -> None:
    Path(name).mkdir()
    save_tokenizer(build_tokenizer("byte"), Path(name))
    assert build(name).name == name
    assert build(f"./{name}").kind == "byte"


def test_characters_a_saved_vocabulary_lacks_are_named() -> None:
    Path("data").mkdir()
    save_tokenizer(build_tokenizer("char", "abc"), Path("data"))
    assert build("data/", "abcab").vocab_size == 3
    with pytest.raises(NanoGPTError) as caught:
        build("data/", "abcdé")
    assert caught.value.message == (
        "the text has 2 characters the vocabulary does not: 'd' (U+0064), 'é' (U+00E9) (in data/)"
    )
    assert "--tokenizer byte" in caught.value.hint


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no tokenizer"),
        (
            {"tokenizer.model": b"x"},
            "in an old form (tokenizer.model), and no tokenizer.json",
        ),
        ({"tokenizer.json": b"{"}, "is not a tokenizer: it is not JSON"),
        ({"tokenizer.json": b'{"model": 3}'}, "is not a tokenizer.json of Hugging Face's tokenizers"),
        ({"tokenizer.json": b"[]"}, "is not a tokenizer: it describes none"),
        ({"tokenizer.json": b"\xff\xfe"}, "is not a tokenizer: it is not JSON"),
        ({TOKENIZER_FILE: b"{}"}, "is not a nanogpt tokenizer"),
        ({"meta.pkl": b"cos\nsystem\n(S'touch run'\ntR."}, "is not a nanoGPT vocabulary"),
    ],
)
def test_folders_without_a_usable_tokenizer(files: dict[str, bytes], message: str) -> None:
    Path("model").mkdir()
    for name, content in files.items():
        (Path("model") / name).write_bytes(content)
    with pytest.raises(NanoGPTError) as caught:
        build("./model")
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert not Path("run").exists()
