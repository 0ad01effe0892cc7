"""What a newcomer types, in an empty folder that holds only a text: Spanish, French or Chinese."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.helpers import Result, run_cli, subprocess_cli

TEXTS = {
    "es": "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, ¿quién vivía? ¡Un hidalgo!\n",
    "fr": "Longtemps, je me suis couché de bonne heure. Où étais-tu, Noël ? « Ici », dit-elle.\n",
    "zh": "道可道，非常道；名可名，非常名。無名天地之始，有名萬物之母。\n",
}
PROMPTS = {"es": "¿quién", "fr": "Où", "zh": "道可道"}
SHORTER = (
    "--max-iters",
    30,
    "--lr-decay-iters",
    30,
    "--eval-interval",
    10,
    "--eval-iters",
    2,
    "--threads",
    1,
)


def checked(*arguments: object, run: Callable[..., Result] = run_cli) -> Result:
    result = run(*arguments)
    assert result.code == 0, result.err
    assert "\x1b" not in result.out + result.err
    return result


def next_command(result: Result) -> str:
    last = result.err.splitlines()[-1]
    assert last.startswith("next: "), last
    return last.removeprefix("next: ")


@pytest.mark.parametrize(
    ("language", "run"),
    [
        pytest.param("es", subprocess_cli, id="es-as-processes"),
        pytest.param("fr", run_cli, id="fr"),
        pytest.param("zh", run_cli, id="zh"),
    ],
)
def test_three_lines(language: str, run: Callable[..., Result]) -> None:
    nanogpt = partial(checked, run=run)
    text = TEXTS[language] * 60
    Path("input.txt").write_text(text, encoding="utf-8")

    result = nanogpt("prepare", "input.txt", "--tokenizer", "char")
    assert result.out == ""
    assert next_command(result) == "nanogpt train"
    meta = json.loads(Path("data/input/meta.json").read_text(encoding="utf-8"))
    assert meta["vocab_size"] == len(set(text))

    result = nanogpt("train", "--preset", "cpu-tiny", *SHORTER)
    assert result.out == ""
    assert next_command(result) == 'nanogpt sample out/input-cpu-tiny --prompt "..."'
    folder = Path("out/input-cpu-tiny")
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints",
        "config.toml",
        "env.json",
        "metrics.jsonl",
        "nanogpt_tokenizer.json",
        "train.log",
    ]

    result = nanogpt("sample", "--prompt", PROMPTS[language], "--max-new-tokens", 40)
    assert result.out.startswith(PROMPTS[language])
    assert len(result.out) == len(PROMPTS[language]) + 40 + 1
    assert set(result.out) <= set(text)
    assert next_command(result) == "nanogpt explain-log"

    document = nanogpt("eval", "--json").json()
    assert document["dataset"] == "data/input"
    assert 0 < document["loss"] < 5
    bytes_per_character = len(text.encode()) / len(text)
    assert document["bits_per_byte"] == pytest.approx(
        document["loss"] / 0.6931 / bytes_per_character, rel=0.05
    )

    explained = nanogpt("explain-log", "--json").json()
    assert explained["n_eval_lines"] == 4
    assert explained["last_loss"] < explained["first_loss"]


def test_a_second_run_and_a_second_text_stand_beside_the_first() -> None:
    for name in ("input", "otra"):
        Path(f"{name}.txt").write_text(TEXTS["es"] * 60, encoding="utf-8")
    checked("prepare", "input.txt")
    tiny = ("--preset", "cpu-tiny", "--max-iters", 1, "--eval-iters", 1, "--threads", 1)
    checked("train", *tiny)
    result = checked("train", *tiny)
    assert "out/input-cpu-tiny holds a run: writing to out/input-cpu-tiny-2" in result.err
    checked("prepare", "otra.txt")
    result = checked("train", *tiny)
    assert "training on data/otra (--dataset chooses another)" in result.err
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "input-cpu-tiny",
        "input-cpu-tiny-2",
        "otra-cpu-tiny",
    ]
    assert "sampling from out/otra-cpu-tiny/" in checked("sample", "--max-new-tokens", 1).err


def test_nanogpts_own_command_line() -> None:
    """Its README's line for a CPU, shortened, with its own config file and data layout."""
    Path("input.txt").write_text(TEXTS["fr"] * 200, encoding="utf-8")
    checked("prepare", "input.txt", "--name", "shakespeare_char")
    Path("config").mkdir()
    Path("config/train_shakespeare_char.py").write_text(
        "# train a miniature character-level shakespeare model\n"
        "out_dir = 'out-shakespeare-char'\n"
        "eval_interval = 250 # keep frequent because we'll overfit\n"
        "eval_iters = 200\n"
        "log_interval = 10 # don't print too too often\n"
        "always_save_checkpoint = False\n"
        "wandb_log = False # override via command line if you like\n"
        "dataset = 'shakespeare_char'\n"
        "gradient_accumulation_steps = 1\n"
        "batch_size = 64\n"
        "block_size = 256 # context of up to 256 previous characters\n"
        "n_layer = 6\n"
        "n_head = 6\n"
        "n_embd = 384\n"
        "dropout = 0.2\n"
        "learning_rate = 1e-3 # with baby networks can afford to go a bit higher\n"
        "max_iters = 5000\n"
        "lr_decay_iters = 5000 # make equal to max_iters usually\n"
        "min_lr = 1e-4 # learning_rate / 10 usually\n"
        "beta2 = 0.99 # make a bit bigger because number of tokens per iter is small\n"
        "warmup_iters = 100 # not super necessary potentially\n",
        encoding="utf-8",
    )
    result = checked(
        *("train", "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=2"),
        *("--log_interval=1", "--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4"),
        *("--n_embd=128", "--max_iters=3", "--lr_decay_iters=2000", "--dropout=0.0"),
    )
    for iter_num in range(3):
        assert f"\niter {iter_num}: loss " in result.err
    assert "\nsaving checkpoint to out-shakespeare-char\n" in result.err
    assert checked("sample", "--out_dir=out-shakespeare-char", "--start=Où", "--max_new_tokens=5").code == 0
