"""The built-in python-docs, and the names of datasets."""

import importlib
import sys

import pytest

from nanogpt_cli.data.sources.names import check_name, safe_name
from nanogpt_cli.data.sources.open import open_sources
from nanogpt_cli.errors import NanoGPTError, UsageError

# ---- python-docs


def test_python_docs_is_the_running_pythons_own_text() -> None:
    topics = importlib.import_module("pydoc_data.topics").topics
    documents = ["".join(document) for document in open_sources(["python-docs"]).documents()]
    assert len(documents) == len(topics)
    assert documents == [topics[name].rstrip() + "\n\n" for name in sorted(topics)]


def test_python_without_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(NanoGPTError, match="installed without pydoc_data"):
        list(open_sources(["python-docs"]).documents())


# ---- names


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("input", "input"),
        ("my text (1)", "my-text-1"),
        ("红楼梦", "红楼梦"),
        ("a/../b", "a-..-b"),
        ("..", "dataset"),
        ("--help", "help"),
        ("$(rm)", "rm"),
        ("", "dataset"),
    ],
)
def test_safe_names(stem: str, name: str) -> None:
    assert safe_name(stem) == name
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a b", "-x", ".hidden", "x" * 300, "a\\b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a dataset") as caught:
        check_name(name)
    assert caught.value.hint.startswith("--name ")
