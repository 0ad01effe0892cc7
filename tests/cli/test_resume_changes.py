"""What may change when a run is gone on with is said, on the screen and in its records; the model may not."""

import json
from pathlib import Path

import pytest

from tests.cli.tiny_run import RUN, trained
from tests.helpers import run_cli


def test_changed_settings_are_logged_from_and_to() -> None:
    trained()
    changes = (
        "--max-iters",
        8,
        "--learning-rate",
        2e-4,
        "--batch-size",
        2,
        "--gradient-accumulation-steps=2",
    )
    result = run_cli("train", "--resume", *changes)
    assert result.code == 0, result.err
    told = (
        "changed since this run was last started: max_iters 6 → 8, batch_size 4 → 2, "
        "gradient_accumulation_steps 1 → 2, learning_rate 0.001 → 0.0002"
    )
    assert told in result.err
    assert told in (RUN / "train.log").read_text(encoding="utf-8")
    lines = (RUN / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert told in [json.loads(line).get("message") for line in lines]
    steps = [record["step"] for record in map(json.loads, lines) if record["event"] == "step"]
    assert steps == list(range(8))


def test_nothing_is_said_where_nothing_changed() -> None:
    trained()
    result = run_cli("train", "--resume")
    assert result.code == 0
    assert "changed since" not in result.err


def test_another_architecture_is_refused() -> None:
    trained()
    before = (RUN / "config.toml").read_bytes()
    result = run_cli("train", "--resume", "--n-layer", 3, "--max-iters", 9)
    assert result.code == 2
    assert "the architecture cannot change on resume: n_layer 2 → 3" in result.err
    assert (RUN / "config.toml").read_bytes() == before


def test_a_flag_is_judged_beside_the_runs_own_settings() -> None:
    """Bug: beside the defaults' n_head of 12, the width was said not to be divisible by it."""
    trained()
    result = run_cli("train", "--resume", "--n-embd", 32)
    assert result.code == 2
    assert "the architecture cannot change on resume: n_embd 16 → 32" in result.err


@pytest.mark.parametrize("asked", ["flag", "file"])
def test_a_file_is_judged_beside_the_runs_own_settings(asked: str) -> None:
    """Bug: as with a flag; the file says the run's own width, and nothing of its heads."""
    trained()
    in_file = 'init_from = "resume"' if asked == "file" else ""
    settings = f'n_embd = 16\nn_layer = 2\nmax_iters = 7\nout_dir = "{RUN.as_posix()}"\n{in_file}\n'
    Path("more.toml").write_text(settings.replace("16", "50"), encoding="utf-8")
    refused = run_cli("train", "more.toml", *(["--resume"] if asked == "flag" else []))
    assert refused.code == 2
    assert "the architecture cannot change on resume: n_embd 16 → 50" in refused.err
    Path("more.toml").write_text(settings, encoding="utf-8")
    result = run_cli("train", "more.toml", "--json", *(["--resume"] if asked == "flag" else []))
    assert result.code == 0, result.err
    assert result.json()["iters"] == 7


def test_a_configuration_file_that_says_otherwise_is_named() -> None:
    """Bug: nanoGPT's way, the file and --init_from=resume, was answered with flags to leave out."""
    trained()
    Path("mine.toml").write_text("max_iters = 9\nn_layer = 3\n", encoding="utf-8")
    result = run_cli("train", "mine.toml", "--init_from=resume", f"--out_dir={RUN}")
    assert result.code == 2
    assert "the architecture cannot change on resume: n_layer 2 → 3" in result.err
    told = f"it comes from mine.toml; the run's own goes on: nanogpt train --resume --out-dir {RUN}"
    assert told in result.err


def test_a_nanogpt_config_gives_way_to_the_checkpoint() -> None:
    """As in nanoGPT, whose first run may have overruled the file's shape by flags."""
    trained()
    Path("mine.py").write_text("max_iters = 9\nn_layer = 3\n", encoding="utf-8")
    result = run_cli("train", "mine.py", "--init_from=resume", f"--out_dir={RUN}")
    assert result.code == 0, result.err
    assert "the checkpoint's n_layer = 2 stays: mine.py cannot change a trained model" in result.err
    written = (RUN / "config.toml").read_text(encoding="utf-8")
    assert "n_layer = 2" in written
    assert "max_iters = 9" in written


def test_a_run_that_was_evaluated_in_between_trains_on() -> None:
    """`--resume --eval-only` was written down with the run's settings: from then on it only evaluated."""
    trained()
    evaluated = run_cli("train", "--resume", "--eval-only", "--json")
    assert evaluated.json()["reason"] == "eval_only", evaluated.err
    result = run_cli("train", "--resume", "--max-iters", 9, "--json")
    assert (result.json()["reason"], result.json()["iters"]) == ("finished", 9)
