"""The schema: what each type accepts and refuses, and that every setting is fully described."""

import dataclasses

import pytest

from nanogpt_cli.config.schema import GROUPS, SETTINGS, TrainConfig, Value, cautions, contradictions

# nanoGPT's train.py, its names and defaults; "auto" and "" stand where it assumed an A100 and a dataset.
NANOGPT_DEFAULTS: dict[str, Value] = {
    "eval_interval": 2000,
    "log_interval": 1,
    "eval_iters": 200,
    "eval_only": False,
    "always_save_checkpoint": True,
    "init_from": "scratch",
    "wandb_log": False,
    "wandb_project": "owt",
    "wandb_run_name": "gpt2",
    "gradient_accumulation_steps": 40,
    "batch_size": 12,
    "block_size": 1024,
    "n_layer": 12,
    "n_head": 12,
    "n_embd": 768,
    "dropout": 0.0,
    "bias": False,
    "learning_rate": 6e-4,
    "max_iters": 600000,
    "weight_decay": 1e-1,
    "beta1": 0.9,
    "beta2": 0.95,
    "grad_clip": 1.0,
    "decay_lr": True,
    "warmup_iters": 2000,
    "lr_decay_iters": 600000,
    "min_lr": 6e-5,
}


def test_nanogpts_settings_have_nanogpts_defaults() -> None:
    assert {name: SETTINGS[name].default for name in NANOGPT_DEFAULTS} == NANOGPT_DEFAULTS
    assert {"out_dir", "dataset", "backend", "device", "dtype", "compile"} <= set(SETTINGS)


def test_every_setting_is_described_and_its_default_is_allowed() -> None:
    assert list(SETTINGS) == [field.name for field in dataclasses.fields(TrainConfig)]
    for name, setting in SETTINGS.items():
        assert setting.group in GROUPS, name
        assert 5 < len(setting.help) < 80, name
        assert setting.parse(setting.default) == setting.default, name
        assert type(setting.parse(str(setting.default))) is type(setting.default), name


def test_names_derived_from_a_setting() -> None:
    setting = SETTINGS["block_size"]
    assert (setting.flag, setting.env) == ("--block-size", "NANOGPT_BLOCK_SIZE")
    assert (setting.message_key, setting.metavar) == ("config.block_size", "INT")
    assert [SETTINGS[name].metavar for name in ("bias", "dropout", "dtype")] == ["BOOL", "FLOAT", "TEXT"]


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("block_size", "64", 64),
        ("block_size", " 64 ", 64),
        ("block_size", 64.0, 64),
        ("max_iters", "2e3", 2000),
        ("max_iters", "0", 0),
        ("learning_rate", "1", 1.0),  # nanoGPT's --learning_rate=1 died on this
        ("learning_rate", 1, 1.0),
        ("learning_rate", "3e-4", 3e-4),
        ("compile", "False", False),
        ("compile", "true", True),
        ("compile", "auto", "auto"),
        ("compile", True, True),
        ("bias", "no", False),
        ("bias", "1", True),
        ("dtype", "bfloat16", "bfloat16"),
        ("device", "cuda:1", "cuda:1"),
        ("dropout", "0.99", 0.99),
    ],
)
def test_accepted(name: str, raw: object, value: Value) -> None:
    parsed = SETTINGS[name].parse(raw)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("block_size", "64.5", "a whole number from 1 to 1048576, not '64.5'"),
        ("block_size", 64.5, "a whole number from 1 to 1048576, not 64.5"),
        ("block_size", "many", "a whole number from 1 to 1048576, not 'many'"),
        ("block_size", 0, "a whole number from 1 to 1048576, not 0"),
        ("block_size", True, "a whole number from 1 to 1048576, not True"),
        ("block_size", "nan", "a whole number from 1 to 1048576, not 'nan'"),
        ("block_size", "inf", "a whole number from 1 to 1048576, not 'inf'"),
        ("block_size", [64], r"a whole number from 1 to 1048576, not \[64\]"),
        ("n_layer", "9" * 5000, "a whole number from 1 to 1000, not '999"),
        ("learning_rate", "-1", "a number of at least 0, not -1"),
        ("learning_rate", "nan", "a number of at least 0, not nan"),
        ("learning_rate", float("nan"), "a number of at least 0, not nan"),
        ("learning_rate", "inf", "finite, not inf"),
        ("learning_rate", False, "a number of at least 0, not False"),
        ("learning_rate", "", "a number of at least 0, not ''"),
        ("dropout", "1", "a number from 0 to 0.99, not 1"),
        ("bias", "maybe", "True or False, not 'maybe'"),
        ("bias", 1, "True or False, not 1"),
        ("bias", "auto", "True or False, not 'auto'"),
        ("compile", "maybe", "True or False or auto, not 'maybe'"),
        ("dtype", "float64", "one of auto, float32, bfloat16, float16, not 'float64'"),
        ("dtype", 32, "one of auto, float32, bfloat16, float16, not 32"),
        ("device", 0, "a text, not 0"),
        ("learning_rate", 1j, "a number of at least 0, not 1j"),
    ],
)
def test_refused(name: str, raw: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        SETTINGS[name].parse(raw)


def test_a_width_that_the_heads_do_not_divide_is_a_contradiction() -> None:
    assert contradictions(TrainConfig()) == []
    ((message, hint),) = contradictions(TrainConfig(n_embd=100, n_head=12))
    assert message.startswith("n_embd = 100 is not divisible by n_head = 12")
    assert hint.startswith("--n-head 10 divides it")


def test_the_nearest_divisor_of_any_width_is_found_at_once() -> None:
    """Every number up to n_embd was tried."""
    ((_, hint),) = contradictions(TrainConfig(n_embd=10**10 + 1, n_head=12))
    assert hint.startswith("--n-head 1 divides it")


@pytest.mark.parametrize("name", ["threads", "n_layer", "n_head", "n_embd", "block_size", "batch_size"])
def test_sizes_no_machine_can_hold_are_refused(name: str) -> None:
    """torch died of a segmentation fault at 100,000 threads."""
    high = SETTINGS[name].high
    assert high is not None
    assert SETTINGS[name].parse(str(int(high))) == high
    with pytest.raises(ValueError, match=rf"to {int(high)}, not {int(high) + 1}$"):
        SETTINGS[name].parse(str(int(high) + 1))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (TrainConfig(min_lr=1e-3, learning_rate=1e-4), "min_lr 0.001 is above learning_rate 0.0001"),
        (TrainConfig(warmup_iters=500, lr_decay_iters=500), "lr_decay_iters 500 is not beyond warmup_iters"),
        (TrainConfig(max_iters=100, warmup_iters=100), "max_iters 100 ends inside the warm-up"),
    ],
)
def test_what_is_seldom_meant_is_a_caution(config: TrainConfig, words: str) -> None:
    (found,) = cautions(config)
    assert found.startswith(words)


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        TrainConfig(min_lr=6e-4),
        TrainConfig(min_lr=1e-3, decay_lr=False),
        TrainConfig(max_iters=2001),
        TrainConfig(max_iters=0),
    ],
)
def test_near_misses_are_no_caution(config: TrainConfig) -> None:
    assert cautions(config) == []
