"""The names that `import nanogpt_cli` offers."""

import subprocess
import sys

import pytest

import nanogpt_cli


def test_the_public_names_are_these() -> None:
    assert nanogpt_cli.__all__ == [
        "__version__",
        "NanoGPTError",
        "TrainConfig",
        "evaluate",
        "explain_log",
        "generate",
        "load_config",
        "load_run",
        "prepare",
        "train",
    ]
    assert dir(nanogpt_cli) == sorted(nanogpt_cli.__all__)


@pytest.mark.parametrize("name", nanogpt_cli.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(nanogpt_cli, name)
    assert thing is getattr(nanogpt_cli, name)
    if name != "__version__":
        assert thing.__doc__
        assert thing.__name__ == name


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        nanogpt_cli.trian  # noqa: B018


def test_a_name_is_the_function_even_where_a_module_shares_it() -> None:
    """`engine.train` is a module beside the function `train`: loading one must not hide the other."""
    modules = "nanogpt_cli.engine.train, nanogpt_cli.data.prepare, nanogpt_cli as n"
    source = f"import {modules}; assert callable(n.train) and callable(n.prepare)"
    subprocess.run([sys.executable, "-c", source], check=True)
