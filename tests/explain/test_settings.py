"""What each value does, by the sentence chosen and its numbers, beginning from nanoGPT's README command."""

import dataclasses
import math
from typing import Any

import pytest

from nanogpt_cli.config.schema import SETTINGS
from nanogpt_cli.explain.effects.case import RunCase
from nanogpt_cli.explain.settings import EFFECTS, explain_settings
from tests.explain.dry_run import CONFIG, FORECAST, TIMING, effect, explain

GPU = {"device_type": "cuda", "device": "cuda:0 (a GPU)", "dtype": "bfloat16", "compile": True}
# A setting's case: name, what the run has, the settings, the sentences told ("!" where it is a caution).
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("out_dir", {}, {}, "where"),
    ("init_from", {}, {}, "scratch"),
    ("init_from", {}, {"init_from": "gpt2"}, "pretrained"),
    ("init_from", {"resumed_from_iter": 500}, {}, "resume"),
    ("max_iters", {}, {}, "tokens ratio_few"),
    ("max_iters", {}, {"max_iters": 20_000}, "tokens ratio_near"),
    ("max_iters", {}, {"max_iters": 100_000}, "tokens ratio_many"),
    ("max_iters", {}, {"max_iters": 10**9}, "tokens too_long! ratio_many"),
    ("max_iters", {}, {"init_from": "gpt2"}, "tokens"),
    ("max_iters", {"resumed_from_iter": 500}, {}, "tokens left ratio_few"),
    ("max_iters", {"resumed_from_iter": 2000}, {}, "nothing"),
    ("max_iters", {}, {"max_iters": 0}, "nothing"),
    ("eval_only", {}, {}, "off"),
    ("eval_only", {}, {"eval_only": True}, "on"),
    ("seed", {}, {}, "effect"),
    ("dataset", {}, {}, "sizes unigram"),
    ("dataset", {"vocab_size": 50304, "text_vocab_size": 50257}, {}, "sizes padded unigram"),
    ("dataset", {"vocab_size": 50304, "text_vocab_size": None}, {}, "sizes assumed unigram"),
    ("batch_size", {}, {}, "work halve"),
    ("batch_size", {}, {"batch_size": 1}, "work"),
    ("batch_size", {"available_bytes": 41_000_000}, {}, "work too_big!"),
    ("batch_size", {"available_bytes": 41_000_000}, {"batch_size": 1}, "work too_big_for_one!"),
    ("batch_size", {"available_bytes": None}, {}, "work halve"),
    ("batch_size", GPU, {}, "work small_for_gpu"),
    ("batch_size", GPU, {"batch_size": 64}, "work halve"),
    ("block_size", {}, {}, "words attention"),
    ("block_size", {"words_per_token": None}, {}, "chars attention"),
    ("block_size", {"chars_per_token": None, "words_per_token": None}, {}, "tokens attention"),
    ("gradient_accumulation_steps", {}, {}, "one"),
    ("gradient_accumulation_steps", {}, {"gradient_accumulation_steps": 8}, "many"),
    ("gradient_accumulation_steps", {"world_size": 2}, {"gradient_accumulation_steps": 8}, "many shared"),
    ("data_order", {}, {}, "random"),
    ("data_order", {}, {"data_order": "shuffle"}, "shuffle"),
    ("arch", {}, {}, "gpt2"),
    ("arch", {}, {"arch": "nanochat"}, "nanochat"),
    ("n_layer", {}, {}, "share positions"),
    ("n_layer", {"n_params_total": 795_904}, {"arch": "nanochat"}, "share total"),
    ("n_head", {}, {}, "usual"),
    ("n_head", {"head_size": 16}, {"n_head": 8}, "narrow"),
    ("n_head", {"head_size": 256}, {}, "wide"),
    ("n_embd", {}, {}, "square table"),
    ("n_embd", {}, {"arch": "nanochat"}, "square tables"),
    ("dropout", {}, {}, "none"),
    ("dropout", {}, {"max_iters": 20_000}, "none_repeated!"),
    ("dropout", {"n_params": 100_000}, {"max_iters": 20_000}, "none"),
    ("dropout", {}, {"dropout": 0.2}, "some"),
    ("dropout", {}, {"dropout": 0.2, "max_iters": 20_000}, "some_repeated"),
    ("dropout", {}, {"dropout": 0.1, "init_from": "gpt2"}, "some_repeated"),
    ("dropout", {}, {"eval_only": True}, "nothing"),
    ("bias", {}, {}, "off"),
    ("bias", {"n_bias_params": 5000}, {"bias": True}, "on"),
    ("bias", {}, {"arch": "nanochat"}, "nanochat"),
    ("bias", {}, {"arch": "nanochat", "bias": True}, "ignored!"),
    ("ngram_order", {}, {}, "none"),
    ("ngram_order", {}, {"arch": "nanochat", "ngram_order": 4}, "tables"),
    ("ngram_rows", {}, {}, "unused"),
    ("ngram_rows", {}, {"arch": "nanochat", "ngram_order": 2}, "used"),
    ("ngram_dropout", {}, {}, "unused"),
    ("ngram_dropout", {}, {"arch": "nanochat", "ngram_order": 2}, "none"),
    ("ngram_dropout", {}, {"arch": "nanochat", "ngram_order": 2, "ngram_dropout": 0.3}, "some"),
    ("optimizer", {}, {}, "adamw"),
    ("optimizer", {}, {"optimizer": "muon"}, "muon"),
    ("weight_decay", {}, {}, "half"),
    ("weight_decay", {}, {"weight_decay": 0.0}, "none"),
    ("beta1", {}, {}, "window"),
    ("beta2", {}, {}, "window long"),
    ("beta2", {}, {"beta2": 0.95}, "window short!"),
    ("beta2", {}, {"beta2": 0.95, "gradient_accumulation_steps": 600}, "window"),
    ("beta2", {}, {"beta2": 0.95, "eval_only": True}, "window"),
    ("beta2", {}, {"beta2": 0.95, "optimizer": "muon"}, "window"),
    ("grad_clip", {}, {}, "on"),
    ("grad_clip", {}, {"grad_clip": 0.0}, "never"),
    ("muon_momentum", {}, {}, "unused"),
    ("muon_momentum", {}, {"optimizer": "muon"}, "window"),
    ("muon_steps", {}, {}, "unused"),
    ("muon_steps", {}, {"optimizer": "muon"}, "rounds"),
    ("ngram_lr", {}, {}, "unused"),
    ("ngram_lr", {}, {"arch": "nanochat", "ngram_order": 2}, "used"),
    ("embedding_lr", {}, {}, "unused"),
    ("embedding_lr", {}, {"optimizer": "muon"}, "used"),
    ("head_lr", {}, {}, "unused"),
    ("head_lr", {}, {"optimizer": "muon"}, "tied"),
    ("head_lr", {}, {"optimizer": "muon", "arch": "nanochat"}, "used"),
    ("on_nonfinite", {}, {}, "stop"),
    ("on_nonfinite", {}, {"on_nonfinite": "skip"}, "skip"),
    ("learning_rate", {}, {}, "usual"),
    ("learning_rate", {}, {"learning_rate": 1e-2}, "high!"),
    ("learning_rate", {"n_params": 124_000_000}, {"learning_rate": 1e-2}, "high!"),
    ("learning_rate", {}, {"learning_rate": 1e-4}, "low"),
    ("learning_rate", {}, {"learning_rate": 3e-5, "init_from": "gpt2"}, "finetune"),
    ("learning_rate", {}, {"optimizer": "muon"}, "muon_low!"),
    ("learning_rate", {}, {"optimizer": "muon", "learning_rate": 0.02}, "muon"),
    ("decay_lr", {}, {}, "on"),
    ("decay_lr", {}, {"decay_lr": False}, "off"),
    ("lr_schedule", {}, {}, "cosine"),
    ("lr_schedule", {}, {"lr_schedule": "linear"}, "linear"),
    ("lr_schedule", {}, {"lr_schedule": "wsd"}, "wsd"),
    ("lr_schedule", {}, {"lr_schedule": "constant"}, "constant"),
    ("lr_schedule", {}, {"decay_lr": False}, "off"),
    ("cooldown_fraction", {}, {}, "unused"),
    ("cooldown_fraction", {}, {"lr_schedule": "wsd"}, "used"),
    ("warmup_iters", {}, {}, "share"),
    ("warmup_iters", {}, {"warmup_iters": 500}, "long"),
    ("warmup_iters", {}, {"warmup_iters": 2000}, "never!"),
    ("warmup_iters", {}, {"warmup_iters": 0}, "none"),
    ("warmup_iters", {}, {"decay_lr": False}, "off"),
    ("warmup_iters", {}, {"eval_only": True}, "nothing"),
    ("lr_decay_iters", {}, {}, "together"),
    ("lr_decay_iters", {"final_lr": 5e-4}, {"lr_decay_iters": 4000}, "later!"),
    ("lr_decay_iters", {"final_lr": 1.01e-4}, {"lr_decay_iters": 2050}, "later"),
    ("lr_decay_iters", {}, {"lr_decay_iters": 1000}, "earlier!"),
    ("lr_decay_iters", {}, {"lr_decay_iters": 1950}, "earlier"),
    ("lr_decay_iters", {}, {"lr_decay_iters": 100}, "inside_warmup!"),
    ("lr_decay_iters", {}, {"decay_lr": False}, "off"),
    ("lr_decay_iters", {}, {"lr_schedule": "constant"}, "off"),
    ("lr_decay_iters", {}, {"eval_only": True}, "nothing"),
    ("min_lr", {}, {}, "ratio"),
    ("min_lr", {}, {"min_lr": 1e-2}, "above!"),
    ("min_lr", {}, {"min_lr": 0.0}, "zero"),
    ("min_lr", {}, {"lr_schedule": "constant"}, "off"),
    ("eval_interval", {}, {}, "cost"),
    ("eval_interval", {}, {"eval_interval": 2000}, "cost ends_only"),
    ("eval_interval", {"n_evals": 200}, {}, "dear!"),
    ("eval_interval", {"n_evals": 1}, {"eval_only": True}, "once"),
    ("eval_iters", {}, {}, "precision quarter"),
    ("eval_iters", {}, {"eval_iters": 200}, "covers"),
    ("log_interval", {}, {}, "every"),
    ("log_interval", {}, {"log_interval": 10}, "lines"),
    ("sample_interval", {}, {}, "off"),
    ("sample_interval", {}, {"sample_interval": 500}, "on"),
    ("sample_interval", {}, {"sample_interval": 500, "eval_only": True}, "off"),
    ("sample_tokens", {}, {}, "unused"),
    ("sample_tokens", {}, {"sample_interval": 500}, "words"),
    ("sample_tokens", {"words_per_token": None}, {"sample_interval": 500}, "chars"),
    (
        "sample_tokens",
        {"chars_per_token": None, "words_per_token": None},
        {"sample_interval": 500},
        "tokens",
    ),
    ("sample_prompt", {}, {}, "unused"),
    ("sample_prompt", {}, {"sample_interval": 500}, "newline"),
    ("sample_prompt", {}, {"sample_interval": 500, "sample_prompt": "The"}, "given"),
    ("tensorboard_log", {}, {}, "off"),
    ("tensorboard_log", {}, {"tensorboard_log": True}, "on"),
    ("wandb_log", {}, {}, "off"),
    ("wandb_log", {}, {"wandb_log": True}, "on"),
    ("wandb_project", {}, {}, "unused"),
    ("wandb_project", {}, {"wandb_log": True}, "used"),
    ("wandb_run_name", {}, {}, "unused"),
    ("wandb_run_name", {}, {"wandb_log": True}, "used"),
    ("trackio_log", {}, {}, "off"),
    ("trackio_log", {}, {"trackio_log": True}, "on"),
    ("always_save_checkpoint", {}, {}, "on"),
    ("always_save_checkpoint", {}, {"always_save_checkpoint": False}, "off"),
    ("save_interval", {}, {}, "off"),
    ("save_interval", {}, {"save_interval": 100}, "on"),
    ("save_minutes", {}, {}, "off"),
    ("save_minutes", {}, {"save_minutes": 30.0}, "on"),
    ("keep_checkpoints", {}, {}, "disk"),
    ("device", {}, {}, "chosen peak"),
    ("device", {}, {"device": "auto"}, "auto peak"),
    ("dtype", {}, {}, "float32"),
    ("dtype", {}, {"dtype": "float32"}, "chosen"),
    ("dtype", {}, {"dtype": "float16"}, "instead"),
    ("dtype", {"dtype": "bfloat16"}, {}, "bfloat16_cpu weights"),
    ("dtype", GPU, {}, "bfloat16_gpu weights"),
    ("dtype", {**GPU, "dtype": "float16"}, {}, "float16 weights"),
    ("dtype", {**GPU, "dtype": "float16"}, {"dtype": "float16"}, "chosen weights"),
    ("compile", {}, {}, "off"),
    ("compile", {}, {"compile": "auto"}, "auto_off"),
    ("compile", GPU, {"compile": "auto"}, "auto_on"),
    ("compile", GPU, {"compile": True}, "on"),
    ("compile", {"compile": True}, {"compile": True}, "on on_cpu"),
    ("strategy", {}, {"strategy": "fsdp"}, "single"),
    ("strategy", {"world_size": 2}, {}, "ddp"),
    ("strategy", {"world_size": 2}, {"strategy": "fsdp"}, "fsdp"),
    ("strategy", {**GPU, "world_size": 2}, {}, "auto"),
    ("strategy", {**GPU, "world_size": 2}, {"strategy": "ddp"}, "ddp"),
    ("backend", {}, {}, "single"),
    ("backend", {"world_size": 2}, {}, "several"),
    ("deterministic", {}, {}, "cpu"),
    ("deterministic", {}, {"deterministic": True}, "cpu"),
    ("deterministic", GPU, {}, "off"),
    ("deterministic", GPU, {"deterministic": True}, "on"),
    ("threads", {}, {}, "all"),
    ("threads", {}, {"threads": 2}, "set"),
    ("threads", GPU, {}, "gpu"),
]


def told(name: str, forecast: dict[str, Any], settings: dict[str, Any]) -> str:
    case = RunCase(
        config=dataclasses.replace(CONFIG, **settings), forecast=dataclasses.replace(FORECAST, **forecast)
    )
    return " ".join(sentence.key + "!" * sentence.caution for sentence in EFFECTS[name](case))


@pytest.mark.parametrize(("name", "forecast", "settings", "keys"), CASES)
def test_the_sentences_of_a_value(
    name: str, forecast: dict[str, Any], settings: dict[str, Any], keys: str
) -> None:
    assert told(name, forecast, settings) == keys
    assert "{" not in effect(name, forecast, **settings)


def test_every_setting_has_its_effect() -> None:
    assert set(EFFECTS) == set(SETTINGS)
    assert [row.setting.name for row in explain().settings] == list(SETTINGS)


# --- Numbers, by hand


@pytest.mark.parametrize(
    ("name", "forecast", "settings", "parts"),
    [
        ("gradient_accumulation_steps", {}, {}, ["12 sequences × 64 tokens = 768 tokens"]),
        (
            "gradient_accumulation_steps",
            {"world_size": 4},
            {"gradient_accumulation_steps": 40, "batch_size": 12, "block_size": 1024},
            ["40 micro-batches × 12 sequences × 1,024 tokens = 491,520", "480 sequences", "10 each"],
        ),
        ("max_iters", {}, {}, ["1,536,000 tokens", "1.53 passes", "1.93 tokens per parameter"]),
        ("block_size", {"chars_per_token": 4.5, "words_per_token": 0.75}, {}, ["288 characters", "48 words"]),
        ("block_size", {"attention_share": 0.25}, {}, ["25.0%", "40.0% at 128"]),  # 2·1 of 3 + 2·1 parts
        ("data_order", {}, {}, [f"{math.exp(-1536 / 1003.854):.1%}"]),
        ("n_layer", {}, {}, ["787,456", "97.9%", "N = 795,904", "804,096"]),
        ("weight_decay", {}, {}, ["6,931 iterations"]),  # ln 2 / (0.1 · 0.001)
        ("beta2", {}, {"beta2": 0.95}, ["20 iterations, 15,360 tokens"]),
        ("learning_rate", {}, {"learning_rate": 0.01}, ["10 times the 0.001 usual"]),
        ("lr_schedule", {}, {}, ["it is 0.00055"]),
        ("warmup_iters", {}, {"warmup_iters": 3999}, ["no higher than 0.0005"]),  # 0.001 · 2000 / 4000
        ("lr_decay_iters", {"final_lr": 5.5e-4}, {"lr_decay_iters": 4000}, ["0.00055, 55% of its highest"]),
        ("lr_decay_iters", {}, {"lr_decay_iters": 500}, ["last 1,500 iterations, 75% of the run"]),
        ("min_lr", {}, {}, ["10% of learning_rate"]),
        ("eval_interval", {}, {}, ["9 evaluations of about 500 ms: 4.5 s together, 5.3%"]),  # of 80 + 4.5 s
        # 0.07 / √20 · √(1 - 15360 / 111540)
        ("eval_iters", {}, {}, ["15,360 tokens", "13.8%", "±0.015", "80 would", "±0.007"]),
        ("keep_checkpoints", {}, {}, ["27.6 MiB of disk, 9.2 MiB each"]),
        ("dataset", {"vocab_size": 50304, "text_vocab_size": 50257}, {}, ["50,257 ids are padded to 50,304"]),
    ],
)
def test_numbers(name: str, forecast: dict[str, Any], settings: dict[str, Any], parts: list[str]) -> None:
    text = effect(name, forecast, **settings)
    for part in parts:
        assert part in text


def test_the_forecast_adds_up() -> None:
    rows = dict(explain().forecast_rows)
    assert rows["parameters"].startswith("795,904 as nanoGPT counts")
    assert rows["memory"].startswith("39.7 MiB: weights 3.07 MiB, gradients 3.07 MiB, optimizer 6.13 MiB")
    assert rows["FLOPs"] == "5.17 million per token, 7.94 trillion in all"
    # 768 tokens in 40 ms; 19,200 · 5,168,640 / 2e11
    assert "19,200 tokens/s, MFU 49.6% of 0.20 TFLOP/s" in rows["speed"]
    assert rows["time"].startswith("about 1 min 24 s: 1 min 20 s of training, 4.5 s in 9 evaluations")


def test_one_count_where_there_are_no_positions() -> None:
    assert dict(explain(forecast={"n_params_total": 795_904}).forecast_rows)["parameters"] == "795,904"


def test_an_estimate_is_not_called_a_measurement() -> None:
    timing = dataclasses.replace(TIMING, basis="estimated", probe_rows=0, first_loss=None)
    rows = dict(explain(forecast={"timing": timing}).forecast_rows)
    assert "if MFU is" in rows["speed"]
    assert rows["how known"].startswith("not measured")
    assert "first loss" not in rows


def test_a_probe_of_fewer_rows_says_so() -> None:
    timing = dataclasses.replace(TIMING, basis="scaled", probe_rows=2)
    assert (
        "2 instead of 12 sequences" in dict(explain(forecast={"timing": timing}).forecast_rows)["how known"]
    )


def test_origins_are_the_readers_words_but_files_are_files() -> None:
    origins = dict.fromkeys(SETTINGS, "default") | {
        "seed": "environment NANOGPT_SEED",
        "beta1": "config/my.py:3",
        "beta2": "preset cpu-tiny",
    }
    rows = explain_settings(CONFIG, origins, FORECAST).settings
    found = {row.setting.name: row.origin for row in rows}
    assert found["seed"] == "environment NANOGPT_SEED"
    assert found["beta1"] == "config/my.py:3"
    assert found["beta2"] == "preset cpu-tiny"
    assert found["bias"] == "default"


def test_cautions_of_the_schema_are_all_told_here_too() -> None:
    """Else a wrong combination that training warns of would pass in silence."""
    settings: dict[str, Any]
    for name, settings in [
        ("learning_rate", {"optimizer": "muon"}),
        ("bias", {"arch": "nanochat", "bias": True}),
        ("min_lr", {"min_lr": 1.0}),
        ("lr_decay_iters", {"lr_decay_iters": 50}),
        ("warmup_iters", {"warmup_iters": 5000}),
    ]:
        assert name in {caution.setting for caution in explain(**settings).cautions}
