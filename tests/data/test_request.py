"""The request that a dataset remembers, and the command that makes it anew."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt_cli.data.preparing.request import Request, request_from_document
from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.tokenizers.recipes import TokenizerOptions
from tests.helpers import run_cli

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
NAMES = st.one_of(st.none(), WORDS)
REQUESTS = st.builds(
    Request,
    sources=st.lists(WORDS, min_size=1, max_size=3).map(tuple),
    tokenizer=st.sampled_from(["char", "bpe", "data/x y"]),
    tokenizer_options=st.builds(
        TokenizerOptions,
        vocab_size=st.none() | st.integers(300, 9999),
        pattern=st.sampled_from(["gpt4", "gpt2"]),
        special_tokens=st.lists(WORDS, max_size=2).map(tuple),
    ),
    source_options=st.builds(
        SourceOptions,
        include=st.lists(WORDS, max_size=2).map(tuple),
        exclude=st.lists(WORDS, max_size=2).map(tuple),
        encoding=NAMES,
        errors=st.sampled_from(["strict", "replace"]),
        text_column=NAMES,
        config=NAMES,
        split=NAMES,
        revision=NAMES,
        streaming=st.booleans(),
        max_docs=st.none() | st.integers(1, 99),
    ),
    val_file=NAMES,
    val_fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)


@given(REQUESTS)
def test_survives_json(request: Request) -> None:
    assert request_from_document(request.to_document()) == request


@settings(max_examples=25)
@given(REQUESTS)
def test_the_command_makes_the_very_request(request: Request) -> None:
    """Every option reaches `prepare` again when the command is typed, whatever is in the names."""
    words = shlex.split(request.command(Path("elsewhere/name"), "--overwrite"))
    assert words[:2] == ["nanogpt", "prepare"]
    seen: list[tuple[object, dict[str, object]]] = []

    class Stop(Exception):
        pass

    def caught(sources: object, **options: object) -> None:
        seen.append((sources, options))
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nanogpt_cli.data.prepare.prepare", caught)
        with pytest.raises(Stop):
            run_cli(*words[1:])
    ((sources, options),) = seen
    assert tuple(sources) == request.sources  # type: ignore[arg-type]
    assert options["tokenizer"] == request.tokenizer
    assert options["tokenizer_options"] == request.tokenizer_options
    assert options["source_options"] == request.source_options
    assert options["seed"] == request.seed
    assert (options["name"], options["data_root"]) == ("name", Path("elsewhere"))
    assert options["overwrite"] is True
    if request.val_file is None:
        assert options["val_fraction"] == request.val_fraction
    else:
        assert options["val_file"] == Path(request.val_file)


@pytest.mark.parametrize(
    "damage", [{"sources": "input.txt"}, {"seed": "x"}, {"val_file": 7}, {"tokenizer_options": {"x": 1}}]
)
def test_a_damaged_document_is_an_error(damage: dict[str, object]) -> None:
    document = {**Request(sources=("input.txt",)).to_document(), **damage}
    with pytest.raises((ValueError, TypeError)):
        request_from_document(document)
