"""A dry run's numbers without a dry run: nanoGPT's README command on a CPU, each replaceable."""

import dataclasses
from typing import Any

from nanogpt_cli.config.schema import SETTINGS, TrainConfig
from nanogpt_cli.events import RunForecast, Timing
from nanogpt_cli.explain.settings import SettingsExplanation, explain_settings

CONFIG = TrainConfig(
    dataset="shakespeare_char",
    block_size=64,
    batch_size=12,
    gradient_accumulation_steps=1,
    n_layer=4,
    n_head=4,
    n_embd=128,
    max_iters=2000,
    lr_decay_iters=2000,
    learning_rate=1e-3,
    min_lr=1e-4,
    warmup_iters=100,
    beta2=0.99,
    eval_interval=250,
    eval_iters=20,
    compile=False,
    device="cpu",
)
TIMING = Timing(iter_ms=40.0, eval_ms=500.0, basis="measured", probe_rows=12, first_loss=4.19)
FORECAST = RunForecast(
    run_dir="out/run",
    resumed_from_iter=None,
    device_type="cpu",
    device="cpu (a processor, 2 threads)",
    dtype="float32",
    compile=False,
    threads=2,
    world_size=1,
    dataset_dir="data/shakespeare_char",
    tokenizer="char",
    vocab_size=65,
    text_vocab_size=65,
    train_tokens=1_003_854,
    val_tokens=111_540,
    chars_per_token=1.0,
    words_per_token=0.18,
    unigram_loss=3.31,
    batch_spread=0.07,
    n_params=795_904,
    n_params_total=804_096,
    n_block_params=196_864,
    n_vocab_params=8_320,
    n_bias_params=0,
    head_size=32,
    flops_per_token=5_168_640.0,
    attention_share=0.076,
    peak_flops=2e11,
    peak_source="measured",
    weights_bytes=3_216_384,
    gradients_bytes=3_216_384,
    optimizer_bytes=6_432_768,
    activations_bytes=28_796_191,
    available_bytes=8 * 1024**3,
    checkpoint_bytes=9_649_152,
    final_lr=1e-4,
    n_evals=9,
    timing=TIMING,
)


def explain(
    language: str = "en", forecast: dict[str, Any] | None = None, **settings: Any
) -> SettingsExplanation:
    """The explanation of CONFIG and FORECAST with some of their values changed."""
    config = dataclasses.replace(CONFIG, **settings)
    found = dataclasses.replace(FORECAST, **(forecast or {}))
    origins = dict.fromkeys(SETTINGS, "default") | {name: f"flag {SETTINGS[name].flag}" for name in settings}
    return explain_settings(config, origins, found, language)


def effect(name: str, /, forecast: dict[str, Any] | None = None, **settings: Any) -> str:
    """What one setting's value does."""
    rows = explain("en", forecast, **settings).settings
    return next(row.effect for row in rows if row.setting.name == name)
