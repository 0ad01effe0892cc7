"""`train --explain`: everything is told, nothing is trained or written."""

import os
from pathlib import Path

import pytest
from rich.text import Text

from nanogpt_cli.config.schema import SETTINGS
from nanogpt_cli.engine import flops, probe
from tests.cli.tiny_run import FLAGS, prepare, train, trained
from tests.helpers import run_cli

NANOGPT_CONFIG = """
out_dir = 'out-shakespeare-char'
eval_interval = 250
log_interval = 10
always_save_checkpoint = False
wandb_log = False
dataset = 'shakespeare_char'
gradient_accumulation_steps = 1
batch_size = 64
block_size = 256
n_layer = 6
n_head = 6
n_embd = 384
dropout = 0.2
learning_rate = 1e-3
max_iters = 5000
lr_decay_iters = 5000
min_lr = 1e-4
beta2 = 0.99
warmup_iters = 100
"""
# DESIGN section 1, verbatim.
NANOGPT_FLAGS = (
    *("config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20"),
    *("--log_interval=1", "--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128"),
    *("--max_iters=2000", "--lr_decay_iters=2000", "--dropout=0.0"),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe of three steps, however short they are, and no matrix products for the peak."""
    monkeypatch.setattr(probe, "_TIMED_SECONDS", 0.0)
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e11)


def files() -> dict[str, int]:
    """Every file below this folder and the home, with its time of change."""
    roots = (Path(), Path(os.environ["HOME"]))
    return {str(p): p.stat().st_mtime_ns for root in roots for p in root.rglob("*") if p.is_file()}


def test_nothing_is_written() -> None:
    prepare()
    before = files()
    result = train("--explain")
    assert result.code == 0, result.err
    assert files() == before
    assert "nothing was written" in result.err


def test_every_setting_stands_in_the_table_with_its_value() -> None:
    prepare()
    lines = train("--explain").out.splitlines()
    for setting in SETTINGS.values():
        assert any(line.startswith(f"{setting.name} = ") for line in lines), setting.name
    assert "n_embd = 16" in lines
    assert "\x1b" not in "".join(lines)
    assert max(map(len, lines)) <= 80


def test_nanogpts_own_command_line() -> None:
    text = "To be, or not to be, that is the question.\n" * 60
    Path("input.txt").write_text(text)
    assert run_cli("prepare", "input.txt", "--tokenizer", "char", "--name", "shakespeare_char").code == 0
    Path("config").mkdir()
    Path("config/train_shakespeare_char.py").write_text(NANOGPT_CONFIG)
    result = run_cli("train", *NANOGPT_FLAGS, "--explain", "--json")
    assert result.code == 0, result.err
    document = result.json()
    rows = {row["name"]: row for row in document["settings"]}
    assert (rows["block_size"]["value"], rows["block_size"]["origin"]) == (64, "flag --block-size")
    assert rows["block_size"]["default"] == 1024
    assert rows["beta2"]["origin"] == "config/train_shakespeare_char.py:19"
    assert rows["bias"]["is_default"]
    assert document["forecast"]["tokens_per_iter"] == 12 * 64
    assert document["forecast"]["timing"]["basis"] == "measured"
    assert document["forecast"]["final_lr"] == pytest.approx(1e-4, rel=1e-2)
    assert not Path("out-shakespeare-char").exists()


def test_the_next_command_is_the_same_one_without_explain() -> None:
    prepare()
    err = run_cli("train", *FLAGS, "--explain", "--lang", "en", "--seed=3").err
    (line,) = [line for line in err.splitlines() if line.startswith("next: ")]
    assert "explain" not in line
    assert "--lang" not in line
    assert line.endswith("--seed=3")
    assert run_cli(*line.removeprefix("next: nanogpt ").split()).code == 0


def test_environment_preset_and_file_are_named() -> None:
    prepare()
    os.environ["NANOGPT_SEED"] = "7"
    Path("my.toml").write_text("# mine\nbeta1 = 0.8\n")
    try:
        rows = train("my.toml", "--explain", "--json").json()["settings"]
    finally:
        del os.environ["NANOGPT_SEED"]
    origins = {row["name"]: row["origin"] for row in rows}
    assert origins["seed"] == "environment NANOGPT_SEED"
    assert origins["beta1"] == "my.toml:2"
    assert origins["beta2"] == "preset cpu-tiny"
    assert origins["weight_decay"] == "default"


def test_cautions_are_told_once_in_the_readers_language() -> None:
    prepare()
    result = train("--lr-decay-iters=60", "--explain", "--json")
    cautions = {(c["setting"], c["code"]) for c in result.json()["cautions"]}
    assert ("lr_decay_iters", "later") in cautions
    result = train("--min-lr=1", "--explain")
    assert "warning" not in result.err
    assert "rises during the decay" in result.out


def test_what_cannot_be_trained_is_the_same_error_as_in_training() -> None:
    prepare()
    for flags in (["--n_head=3"], ["--block_size=5000"], ["--gradient-accumulation-steps=3", "--nproc=2"]):
        result = train("--explain", *flags)
        assert result.code != 0
        assert result.out == ""
        assert "hint: " in result.err


def test_a_resumed_run_tells_what_is_left() -> None:
    trained()
    before = files()
    result = run_cli("train", "--resume", "--max-iters=10", "--explain", "--json")
    assert result.code == 0, result.err
    forecast = result.json()["forecast"]
    assert forecast["resumed_from_iter"] == 6
    assert forecast["train_seconds"] == pytest.approx(4 * forecast["timing"]["iter_ms"] / 1000)
    assert files() == before


def test_weights_trained_before_overrule_the_shape() -> None:
    trained()
    result = train("--init-from=out/input-cpu-tiny", "--n_layer=5", "--explain", "--json")
    assert result.code == 0, result.err
    row = next(row for row in result.json()["settings"] if row["name"] == "n_layer")
    assert (row["value"], row["origin"]) == (2, "init_from out/input-cpu-tiny")


def test_a_model_larger_than_the_memory_is_not_built() -> None:
    """Tens of terabytes: the sizes are told all the same."""
    prepare()
    flags = ("--n_layer=40", "--n_head=64", "--n_embd=65536", "--block_size=8")
    result = train(*flags, "--explain", "--json")
    assert result.code == 0, result.err
    document = result.json()
    assert document["forecast"]["timing"]["basis"] == "estimated"
    assert document["forecast"]["memory_bytes"] > 1e13
    assert {"setting": "batch_size", "code": "too_big"}.items() <= document["cautions"][0].items()


def test_several_processes_share_the_micro_batches() -> None:
    prepare()
    flags = ("--gradient-accumulation-steps=4", "--nproc=2", "--explain")
    forecast = train(*flags, "--json").json()["forecast"]
    assert forecast["world_size"] == 2
    assert forecast["tokens_per_iter"] == 4 * 4 * 8
    assert "2 each" in train(*flags).out


def test_quiet_leaves_only_the_table() -> None:
    prepare()
    result = train("--explain", "--quiet")
    assert result.err == ""
    assert "n_embd = 16" in result.out


def test_lang_alone_is_a_mistake() -> None:
    result = run_cli("train", "--lang", "es")
    assert result.code == 2
    assert "--explain" in result.err
    result = run_cli("train", "--explain", "--lang", "klingon")
    assert result.code == 2
    assert "klingon" in result.err


@pytest.mark.parametrize(
    ("variable", "language", "words"),
    [
        ("NANOGPT_LANG", "es", "por omisión"),
        ("LC_ALL", "fr_CA.UTF-8", "par défaut"),
        ("LANG", "zh_CN", "默认值"),
    ],
)
def test_the_language_is_the_readers(
    monkeypatch: pytest.MonkeyPatch, variable: str, language: str, words: str
) -> None:
    for name in ("NANOGPT_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, language)
    prepare()
    result = train("--explain")
    assert f"\n    {words}\n" in result.out
    assert words not in train("--explain", "--lang", "en").out


def test_eval_only_and_no_iterations() -> None:
    prepare()
    for flags in (["--eval_only=True"], ["--max_iters=0"]):
        result = train(*flags, "--explain")
        assert result.code == 0, result.err
        assert "one evaluation" in result.out


def test_a_terminal_of_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR")
    for width in (40, 60, 80, 100, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        result = train("--explain", "--quiet")
        assert result.code == 0
        lines = [Text.from_ansi(line) for line in result.out.splitlines()]
        assert max(line.cell_len for line in lines) <= width
        assert any("gradient_accumulation_steps" in line.plain for line in lines)
