"""A dataset and a trained run, made by the commands themselves in a second."""

from pathlib import Path

from tests.helpers import Result, run_cli

TEXT = "El niño come pan. Où est la clé ? 你好，世界。 The end.\n" * 40
# 2 layers, 16 wide, 6 iterations, evaluated and saved at 3 and 6.
FLAGS = (
    *("--preset", "cpu-tiny", "--device=cpu", "--dtype=float32", "--compile=False", "--threads=1"),
    *("--n_layer=2", "--n_head=2", "--n_embd=16", "--block_size=8", "--batch_size=4"),
    *("--max_iters=6", "--lr_decay_iters=6", "--warmup_iters=2"),
    *("--eval_interval=3", "--eval_iters=2", "--log_interval=1", "--always_save_checkpoint=True"),
)
RUN = Path("out/input-cpu-tiny")


def prepare(text: str = TEXT, *options: object) -> None:
    """`text` as data/input."""
    Path("input.txt").write_text(text, encoding="utf-8")
    result = run_cli("prepare", "input.txt", "--overwrite", *options)
    assert result.code == 0, result.err


def train(*options: object) -> Result:
    """Train as FLAGS say, later options winning."""
    return run_cli("train", *FLAGS, *options)


def trained() -> None:
    """data/input and out/input-cpu-tiny."""
    prepare()
    result = train()
    assert result.code == 0, result.err
