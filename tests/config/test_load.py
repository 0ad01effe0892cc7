"""The layers: precedence and origins, every problem at once with its place, and the TOML that is written."""

import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.config.load import dump_toml, load_config, read_preset, toml_value
from nanogpt_cli.config.schema import SETTINGS, Setting, TrainConfig, Value
from nanogpt_cli.errors import EXIT_USAGE, UsageError


def write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


# --- precedence and origins


def test_without_layers_everything_is_default() -> None:
    loaded = load_config(environment={})
    assert loaded.config == TrainConfig()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.label == "run"


def test_precedence_is_flag_environment_file_preset_default() -> None:
    """Five settings of cpu-tiny, each overridden one layer further up."""
    write("base.toml", "batch_size = 2\nn_layer = 2\nn_head = 2\nn_embd = 20\n")
    write("over.toml", "# a line before\nn_layer = 3\nn_head = 4\nn_embd = 40\n")
    loaded = load_config(
        "base.toml",
        "over.toml",
        preset="cpu-tiny",
        flags={"n_embd": "80"},
        environment={"NANOGPT_N_HEAD": "8", "NANOGPT_N_EMBD": "60"},
    )
    found = {name: (getattr(loaded.config, name), loaded.origins[name]) for name in SETTINGS}
    assert found["weight_decay"] == (0.1, "default")
    assert found["block_size"] == (64, "preset cpu-tiny")
    assert found["batch_size"] == (2, "base.toml:1")
    assert found["n_layer"] == (3, "over.toml:2")
    assert found["n_head"] == (8, "environment NANOGPT_N_HEAD")
    assert found["n_embd"] == (80, "flag --n-embd")


def test_the_environment_is_the_process_one_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOGPT_BLOCK_SIZE", "32")
    assert load_config().config.block_size == 32
    assert load_config(environment={}).config.block_size == 1024


def test_a_file_may_name_its_preset() -> None:
    write("nanogpt.toml", 'preset = "cpu-tiny"\nblock_size = 32\n')
    loaded = load_config("nanogpt.toml", environment={})
    assert (loaded.config.block_size, loaded.config.n_layer) == (32, 4)
    assert loaded.label == "cpu-tiny"
    named = load_config("nanogpt.toml", preset="shakespeare-char", environment={})
    assert (named.config.block_size, named.config.n_layer) == (32, 6)  # --preset wins over the key


def test_the_last_file_that_names_a_preset_decides() -> None:
    write("a.toml", 'preset = "cpu-tiny"\n')
    write("b.toml", 'preset = "shakespeare-char"\n')
    write("c.toml", "seed = 1\n")
    assert load_config("a.toml", "b.toml", "c.toml", environment={}).label == "shakespeare-char"


def test_a_run_is_named_after_its_file_without_a_preset() -> None:
    assert load_config(write("my-run.toml", "seed = 1\n"), environment={}).label == "my-run"


def test_what_the_program_decides_has_an_origin_too() -> None:
    loaded = load_config(environment={}).replace("newest under data/", dataset="input")
    assert (loaded.config.dataset, loaded.origins["dataset"]) == ("input", "newest under data/")
    assert loaded.origins["seed"] == "default"


def test_a_byte_order_mark_is_no_part_of_the_settings() -> None:
    """Notepad writes one; tomllib answered `Invalid statement (at line 1, column 1)`."""
    Path("bom.toml").write_bytes(b"\xef\xbb\xbfblock_size = 32\r\n")
    Path("bom.py").write_bytes(b"\xef\xbb\xbfblock_size = 16\r\n")
    assert load_config("bom.toml", environment={}).config.block_size == 32
    assert load_config("bom.py", environment={}).config.block_size == 16


# --- problems


def test_every_problem_is_reported_at_once_with_its_place() -> None:
    write("c.toml", 'n_layer = 0\nblok_size = 64\ndtype = "int8"\n')
    write("d.py", "import os\nlearning_rate = 'high'\n")
    with pytest.raises(UsageError) as caught:
        load_config(
            "c.toml",
            "d.py",
            flags={"dropout": "2", "n_heads": "3"},
            environment={"NANOGPT_SEED": "-1"},
        )
    assert caught.value.message == "7 settings are wrong"
    assert caught.value.hint == "nanogpt train --help lists every setting with its type and range"
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.details == (
        "c.toml:1: n_layer must be a whole number from 1 to 1000, not 0",
        "c.toml:2: unknown setting 'blok_size' (did you mean block_size?)",
        "c.toml:3: dtype must be one of auto, float32, bfloat16, float16, not 'int8'",
        "d.py:2: learning_rate must be a number of at least 0, not 'high'",
        f"environment NANOGPT_SEED: seed must be {SETTINGS['seed'].expects()}, not -1",
        "flag --dropout: dropout must be a number from 0 to 0.99, not 2",
        "flag: unknown setting 'n_heads' (did you mean n_head?)",
    )


def test_one_problem_is_one_line() -> None:
    write("c.toml", "\n\nlearning-rate = 1e-3\n")
    with pytest.raises(UsageError) as caught:
        load_config("c.toml", environment={})
    assert caught.value.message == ("c.toml:3: unknown setting 'learning-rate' (did you mean learning_rate?)")
    assert caught.value.details == ()


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        ("[model]\nn_layer = 2\n", 1, "model"),
        ("seed = 1\n[model] # a comment\nn_layer = 2\n", 2, "model"),
        ("seed = 1\nmodel.n_layer = 2\n", 2, "model"),
        ('seed = 1\n"modell" = 2\n', 2, "modell"),
        ("[[model]]\nn_layer = 2\n", 1, "model"),
    ],
)
def test_a_table_is_an_unknown_setting_with_its_line(text: str, line: int, name: str) -> None:
    write("c.toml", text)
    with pytest.raises(UsageError, match=f"^c.toml:{line}: unknown setting '{name}'"):
        load_config("c.toml", environment={})


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(UsageError, match=r"n_embd = 100 is not divisible by n_head = 12"):
        load_config(flags={"n_embd": 100}, environment={})


def test_an_unknown_variable_is_a_warning() -> None:
    loaded = load_config(environment={"NANOGPT_BLOCKSIZE": "1", "NANOGPT_LANG": "fr", "OTHER": "x"})
    assert loaded.warnings == ("environment variable NANOGPT_BLOCKSIZE names no setting and is ignored",)


def test_a_broken_toml_names_its_line() -> None:
    with pytest.raises(UsageError, match=r"c\.toml is not valid TOML: .*line 2"):
        load_config(write("c.toml", "seed = 1\nn_layer = \n"), environment={})


def test_a_preset_that_is_no_name() -> None:
    with pytest.raises(UsageError, match="preset must be a name, not 3"):
        load_config(write("c.toml", "preset = 3\n"), environment={})


def test_an_unknown_preset_names_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match=r"no preset 'cpu_tiny' \(did you mean cpu-tiny\?\)") as caught:
        read_preset("cpu_tiny")
    assert caught.value.hint == "nanogpt train --preset cpu-tiny"
    assert "gpt2-124m: 124M parameters: GPT-2 small from scratch; days on 8 A100s" in caught.value.details


@pytest.mark.parametrize("name", ["../presets/cpu-tiny", "", "cpu-tiny.toml", "/etc/passwd"])
def test_a_preset_is_a_name_and_no_path(name: str) -> None:
    with pytest.raises(UsageError, match="there is no preset"):
        read_preset(name)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("missing.toml", "nanogpt init"),
        ("input.txt", "nanogpt prepare input.txt --tokenizer char"),
        ("cpu-tiny", "nanogpt train --preset cpu-tiny"),
        ("config/train_gpt2.py", "--preset gpt2-124m"),
        ("train_smal.py", "nanogpt train config/train_small.py"),
        ("train.py", "leave train.py out"),
        ("learning_rate=1e-3", "nanogpt train --learning_rate=1e-3"),
        ("False", "--compile=False"),  # as in: --compile False
        ("12", "--batch_size=12"),  # as in: --batch_size = 12
        ("batch_size=", "--batch_size=12"),
    ],
)
def test_a_missing_file_says_what_to_type(path: str, hint: str) -> None:
    Path("config").mkdir()
    write("config/train_small.py", "seed = 1\n")
    with pytest.raises(UsageError, match="there is no configuration file") as caught:
        load_config(path, environment={})
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("blocksize", "block_size"),
        ("lr", "learning_rate"),
        ("epochs", "max_iters"),
        ("seq-len", "block_size"),
        ("Precision", "dtype"),
        ("zzz", ""),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(name: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(flags={name: "1"}, environment={})
    told = f" (did you mean {meant}?)" if meant else ""
    assert caught.value.message == f"flag: unknown setting {name!r}{told}"


def test_a_folder_or_a_binary_file_is_no_configuration() -> None:
    Path("out").mkdir()
    with pytest.raises(UsageError, match="out is a folder") as caught:
        load_config("out", environment={})
    assert "--resume --out-dir out" in caught.value.hint
    Path("c.toml").write_bytes(b"seed = \xff")
    with pytest.raises(UsageError, match=r"not a text file \(byte 7"):
        load_config("c.toml", environment={})


# --- the TOML we write


def test_a_dump_reads_back_and_is_grouped() -> None:
    config = TrainConfig(dataset='a "b" \\ c\n', learning_rate=1e-5, compile=True, max_iters=0)
    text = dump_toml(config, header="two\nlines")
    assert text.startswith("# two\n# lines\n\n# Run\n")
    write("c.toml", text)
    loaded = load_config("c.toml", environment={})
    assert loaded.config == config
    assert set(tomllib.loads(text)) == set(SETTINGS)


def test_a_dump_needs_no_header() -> None:
    assert dump_toml(TrainConfig()).startswith("# Run\nout_dir = ")


def values_of(setting: Setting) -> st.SearchStrategy[Value]:
    choices: st.SearchStrategy[Value] = st.sampled_from(setting.choices) if setting.choices else st.nothing()
    if setting.kind is bool:
        return choices | st.booleans()
    if setting.kind is int:
        low = int(setting.low) if setting.low is not None else None
        high = int(setting.high) if setting.high is not None else None
        return choices | st.integers(min_value=low, max_value=high)
    if setting.kind is float:
        return choices | st.floats(
            min_value=setting.low, max_value=setting.high, allow_nan=False, allow_infinity=False
        )
    return choices if setting.choices else st.text()


configs = st.builds(TrainConfig, **{name: values_of(setting) for name, setting in SETTINGS.items()})


@given(config=configs)
def test_every_configuration_survives_a_round_trip(config: TrainConfig) -> None:
    document = tomllib.loads(dump_toml(config))
    assert {name: SETTINGS[name].parse(raw) for name, raw in document.items()} == dataclasses.asdict(config)


@given(text=st.text())
def test_any_text_is_a_toml_string(text: str) -> None:
    assert tomllib.loads(f"x = {toml_value(text)}")["x"] == text


@given(header=st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs"))))
def test_any_header_is_a_comment(header: str) -> None:
    assert set(tomllib.loads(dump_toml(TrainConfig(), header=header))) == set(SETTINGS)
