"""The spellings of a flag: nanoGPT's and the usual ones mean the same, and values stay as they were typed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.cli.options import normalise, without_unknown
from nanogpt_cli.config.schema import SETTINGS
from tests.helpers import run_cli

NEGATABLE = {"--bias": "--no-bias"}
PLAIN = {"--quiet", "--json"}
VALUED = {"--block-size", "--compile", "--prompt", "-p"}


def rewritten(*args: str) -> list[str]:
    return normalise(list(args), negatable=NEGATABLE, plain=PLAIN, valued=VALUED)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--block_size=64"], ["--block-size=64"]),
        (["--block_size", "64"], ["--block-size", "64"]),
        (["--block-size=64"], ["--block-size=64"]),
        (["--bias=True"], ["--bias"]),
        (["--bias=False"], ["--no-bias"]),
        (["--bias=0"], ["--no-bias"]),
        (["--no_bias"], ["--no-bias"]),
        (["--bias"], ["--bias"]),
        (["--bias=maybe"], ["--bias=maybe"]),  # for the parser to refuse
        (["--quiet=True"], ["--quiet"]),
        (["--quiet=False"], []),
        (["--compile"], ["--compile=True"]),
        (["--no-compile"], ["--compile=False"]),
        (["--no_compile"], ["--compile=False"]),
        (["--compile=auto"], ["--compile=auto"]),
        (["--compile", "config.py"], ["--compile=True", "config.py"]),
        (["--prompt=a_b=c_d"], ["--prompt=a_b=c_d"]),
        (["--prompt", "--block_size"], ["--prompt", "--block_size"]),
        (["--prompt", "--- chapter_one"], ["--prompt", "--- chapter_one"]),
        (["-p", "--a_b", "--block_size=1"], ["-p", "--a_b", "--block-size=1"]),
        (["--prompt", "--prompt", "--no_bias"], ["--prompt", "--prompt", "--no-bias"]),
        (["--", "--block_size=64"], ["--", "--block_size=64"]),
        (["my_config.py", "--block_size=64"], ["my_config.py", "--block-size=64"]),
        (["-"], ["-"]),
    ],
)
def test_spellings(typed: list[str], meant: list[str]) -> None:
    assert rewritten(*typed) == meant


def refusal(*args: str) -> list[str]:
    """What `train` says of these flags and of `--n-layer 0`, which stops it before it looks for a dataset."""
    code, _, err = run_cli("train", "--n-layer", "0", *args)
    assert code == 2, err
    return err.splitlines()


@pytest.mark.parametrize(
    "spelling",
    [["--block-size", "0"], ["--block_size", "0"], ["--block-size=0"], ["--block_size=0"]],
)
def test_train_takes_every_spelling(spelling: list[str]) -> None:
    assert "  - flag --block-size: block_size must be a whole number from 1 to 1048576, not 0" in refusal(
        *spelling
    )


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.kind is bool])
@pytest.mark.parametrize("spelling", ["--{}=False", "--{}=true", "--{}", "--no-{}", "--{}=0"])
def test_train_takes_every_spelling_of_a_boolean(name: str, spelling: str) -> None:
    for word in (name, name.replace("_", "-")):
        lines = refusal(spelling.format(word))
        assert lines[0] == "error: flag --n-layer: n_layer must be a whole number from 1 to 1000, not 0"


def test_every_setting_is_a_flag_of_train_and_none_is_cut_off_at_80_columns() -> None:
    shown = run_cli("train", "--help").out
    assert [setting.flag for setting in SETTINGS.values() if setting.flag not in shown] == []


def test_auto_on_the_command_line_wins_over_a_file(
    tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--compile=auto` was dropped as if it were the default, and `compile = true` of a file won."""
    from nanogpt_cli.cli.commands import train
    from nanogpt_cli.config.load import LoadedConfig, load_config
    from nanogpt_cli.errors import UsageError

    seen: list[LoadedConfig] = []

    def spy(*files: object, **options: object) -> LoadedConfig:
        seen.append(load_config(*files, **options))  # type: ignore[arg-type]
        raise UsageError("enough", "seen")

    monkeypatch.setattr(train, "load_config", spy)
    monkeypatch.setenv("NANOGPT_COMPILE", "True")
    for spelling, value in {"--compile=auto": "auto", "--no-compile": False, "--seed=1": True}.items():
        run_cli("train", spelling)
        assert seen[-1].config.compile == value, spelling


def test_every_unknown_flag_is_named_at_once_beside_wrong_values() -> None:
    """The parser stopped at the first one, and the values were not looked at."""
    Path("config.py").write_text("n_layer = 0\n", encoding="utf-8")
    code, _, err = run_cli(
        *("train", "--blok_size=3", "--lr", "3", "-n_layer=2", "--resme", "config.py", "--dropout=7")
    )
    assert code == 2
    assert err.splitlines() == [
        "error: 6 settings are wrong",
        "  - flag --blok-size: there is no such setting (did you mean --block-size?)",
        "  - flag --lr: there is no such setting (did you mean --learning-rate?)",
        "  - flag -n_layer: there is no such setting (did you mean --n-layer?)",
        "  - flag --resme: there is no such setting (did you mean --resume?)",
        "  - config.py:1: n_layer must be a whole number from 1 to 1000, not 0",
        "  - flag --dropout: dropout must be a number from 0 to 0.99, not 7",
        "hint: nanogpt train --help lists every setting with its type and range",
    ]


@given(args=st.lists(st.sampled_from(["--block-size", "--block-size=1", "7", "c.py", "-p", "-q", "--", "-"])))
def test_known_arguments_are_left_as_they_are(args: list[str]) -> None:
    assert without_unknown(args, {"--block-size", "-p", "-q"}) == (args, [])
