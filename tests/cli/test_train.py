"""`nanogpt train` as its user meets it: lines in a pipe, JSON, names of runs, and every wrong input."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nanogpt_cli.engine import flops
from nanogpt_cli.engine.models.gpt2 import GPT2
from tests.cli.tiny_run import FLAGS, RUN, TEXT, prepare, train, trained
from tests.helpers import Result, run_cli, subprocess_cli

# nanoGPT's own lines, as its train.py prints them.
ITER = re.compile(r"iter \d+: loss \d+\.\d{4}, time \d+\.\d{2}ms, mfu \d+\.\d{2}%")
STEP = re.compile(r"step \d+: train loss \d+\.\d{4}, val loss \d+\.\d{4}")


@pytest.fixture(autouse=True)
def known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)


# --- In a pipe


def test_a_pipe_gets_nanogpts_lines_character_for_character() -> None:
    prepare()
    result = train()
    assert result.code == 0
    assert result.out == ""
    assert "\x1b" not in result.err
    lines = result.err.splitlines()
    assert lines[0] == "training on data/input (--dataset chooses another)"
    vocabulary = len(set(TEXT))
    expected = [
        r"tokens per iteration will be: 32",
        rf"found vocab_size = {vocabulary} \(inside data/input/meta\.json\)",
        r"Initializing a new model from scratch",
        r"number of parameters: 0\.01M",
        r"num decayed parameter tensors: 10, with [\d,]+ parameters",
        r"num non-decayed parameter tensors: 5, with 80 parameters",
        r"using fused AdamW: True",
    ]
    for line, pattern in zip(lines[1:8], expected, strict=True):
        assert re.fullmatch(pattern, line), line
    body = [line for line in lines if line.startswith(("iter", "step", "saving"))]
    kinds = ["iter" if ITER.fullmatch(line) else "step" if STEP.fullmatch(line) else line for line in body]
    saving = f"saving checkpoint to {RUN}"
    assert kinds == ["step", *["iter"] * 3, "step", saving, *["iter"] * 3, "step", saving]
    assert [line.split(":")[0] for line in body if line.startswith("iter")] == [f"iter {i}" for i in range(6)]
    assert re.fullmatch(r"finished after 6 iterations in 0:\d\d, best val loss .* at iteration \d", lines[-2])
    assert lines[-1] == f'next: nanogpt sample {RUN} --prompt "..."'


def test_a_true_pipe_gets_no_escape_codes_either() -> None:
    """As a process, with colour asked for by nobody."""
    prepare()
    result = subprocess_cli("train", *FLAGS, "--max-iters", 1)
    assert result.code == 0, result.err
    assert "\x1b" not in result.err + result.out
    assert re.search(r"(?m)^iter 0: loss \d+\.\d{4}, time \d+\.\d{2}ms, mfu \d+\.\d{2}%$", result.err)


def test_quiet_says_nothing_and_the_records_are_written_all_the_same() -> None:
    prepare()
    assert train("--quiet") == Result(0, "", "")
    assert "iter 5: loss" in (RUN / "train.log").read_text(encoding="utf-8")


def test_without_a_known_peak_mfu_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """nanoGPT printed -100.00 % while it knew nothing."""
    monkeypatch.setattr(flops, "peak_flops", lambda _hardware: (0.0, "unknown"))
    prepare()
    err = train().err
    assert "mfu " not in err.replace("peak for mfu", "")
    assert re.search(r"(?m)^iter 5: loss \d+\.\d{4}, time \d+\.\d{2}ms$", err)


def test_what_was_left_out_is_decided_and_said() -> None:
    prepare()
    flags = FLAGS[2:]  # no preset
    result = run_cli("train", *flags)
    assert result.code == 0
    told = "using preset cpu-tiny: n_layer is set, and the rest are nanoGPT's numbers for a CPU"
    assert f"{told} (--preset chooses another)" in result.err


# --- Records


def test_json_is_the_only_thing_on_stdout() -> None:
    prepare()
    result = train("--json")
    document = result.json()
    assert list(document) == [
        "schema_version",
        "reason",
        "run_dir",
        "iters",
        "final_train_loss",
        "final_val_loss",
        "best_val_loss",
        "best_val_iter",
        "tokens_seen",
        "epochs",
        "median_ms_per_iter",
        "ms_per_iter_p10",
        "ms_per_iter_p90",
        "tokens_per_second",
        "mfu",
        "peak_flops",
        "peak_flops_source",
        "peak_memory_bytes",
        "peak_reserved_bytes",
        "wall_seconds",
    ]
    assert document["schema_version"] == 1
    assert document["run_dir"] == str(RUN)
    assert (document["reason"], document["iters"]) == ("finished", 6)
    assert document["best_val_loss"] <= document["final_val_loss"]
    assert document["ms_per_iter_p10"] <= document["median_ms_per_iter"] <= document["ms_per_iter_p90"]
    assert document["tokens_seen"] == 6 * 32
    assert document["peak_memory_bytes"] > 10**7
    assert 0 < document["mfu"] < 1
    assert document["tokens_per_second"] == pytest.approx(32 / document["median_ms_per_iter"] * 1000)


def records(run: Path = RUN) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_metrics_jsonl() -> None:
    trained()
    found = records()
    assert {record["v"] for record in found} == {1}
    assert [record["event"] for record in found] == [
        "notice",
        "run",
        "eval",
        *["step"] * 3,
        "eval",
        "checkpoint",
        *["step"] * 3,
        "eval",
        "checkpoint",
        "end",
    ]
    steps = [record for record in found if record["event"] == "step"]
    assert [step["step"] for step in steps] == list(range(6))
    assert {frozenset(step) for step in steps[2:]} == {
        frozenset(
            (
                *("v", "event", "step", "loss", "lr", "grad_norm", "clipped", "step_ms", "tok_per_sec"),
                *("mfu", "tokens", "epochs"),
            )
        )
    }
    run = next(record for record in found if record["event"] == "run")
    assert run["config"]["n_embd"] == 16
    assert run["tokens_per_iter"] == 32
    evaluation = next(record for record in found if record["event"] == "eval")
    assert set(evaluation) == {"v", "event", "step", "train_loss", "val_loss", "lr", "best", "eval_ms"}


def test_train_log_holds_what_a_pipe_would_have_shown() -> None:
    prepare()
    err = train().err
    log = (RUN / "train.log").read_text(encoding="utf-8").splitlines()
    assert log == [line for line in err.splitlines() if not line.startswith("next: ")]


# --- Run directories


def test_a_second_run_takes_the_next_free_name_and_says_so() -> None:
    trained()
    before = (RUN / "config.toml").read_bytes()
    result = train("--n_embd=32")
    assert f"{RUN} holds a run: writing to {RUN}-2 (--resume goes on, --overwrite replaces)" in result.err
    assert (RUN / "config.toml").read_bytes() == before
    assert "writing to out/input-cpu-tiny-3" in train().err


def test_overwrite_replaces_the_run() -> None:
    trained()
    result = train("--overwrite", "--max_iters=1")
    assert result.code == 0
    assert f"replacing the run in {RUN}" in result.err
    assert not Path(f"{RUN}-2").exists()
    assert [record["step"] for record in records() if record["event"] == "step"] == [0]


def test_resume_goes_on_with_the_newest_run_and_its_settings() -> None:
    trained()
    result = run_cli("train", "--resume", "--max-iters", 8)
    assert result.code == 0, result.err
    assert f"resuming the newest run, {RUN}" in result.err
    assert f"Resuming training from {RUN}" in result.err
    steps = [record["step"] for record in records() if record["event"] == "step"]
    assert steps == list(range(8)), "no gap and no iteration twice"


def test_nanogpts_init_from_resume_is_the_same() -> None:
    trained()
    result = run_cli("train", "--init_from=resume", f"--out_dir={RUN}", "--max_iters=7")
    assert result.code == 0, result.err
    assert [record["step"] for record in records() if record["event"] == "step"] == list(range(7))


def test_eval_only_saves_nothing() -> None:
    prepare()
    result = train("--eval_only=True")
    assert result.code == 0
    assert [line for line in result.err.splitlines() if line.startswith(("iter", "saving"))] == []
    assert sum(bool(STEP.fullmatch(line)) for line in result.err.splitlines()) == 1
    assert not (RUN / "checkpoints").exists()


# --- Diverging


def test_a_diverged_run_ends_with_code_3_and_names_the_last_good_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare()
    real, calls = GPT2.forward, 0

    def forward(self: GPT2, idx: torch.Tensor, targets: torch.Tensor | None = None) -> Any:
        nonlocal calls
        logits, loss = real(self, idx, targets)
        calls += self.training
        return logits, loss * float("nan") if calls == 5 and loss is not None else loss

    monkeypatch.setattr(GPT2, "forward", forward)
    result = train("--json")
    assert result.code == 3
    assert json.loads(result.out)["reason"] == "nonfinite"  # nothing was printed at all
    error, hint = result.err.splitlines()[-2:]
    assert error.startswith("error: training diverged at iteration 4: the loss is not finite")
    assert error.endswith(f"the last good checkpoint is {RUN}/checkpoints/iter_00000003")
    assert hint.startswith(f"hint: go on from it: nanogpt train --resume --out-dir {RUN} with a lower rate")
    assert records()[-1]["reason"] == "nonfinite"


def test_going_on_from_a_diverged_run() -> None:
    trained()
    result = run_cli("train", "--resume", "--max-iters", 7, "--learning-rate", "1e-4", "--min-lr", "1e-5")
    assert result.code == 0
    steps = [record for record in records() if record["event"] == "step"]
    assert (steps[-1]["step"], steps[-1]["lr"]) == (6, 1e-5)


# --- Wrong input: one line says what is wrong, one what to type, nothing is left behind


def assert_refused(result: Result, code: int, message: str, hint: str) -> None:
    assert result.code == code, result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    lines = [line for line in result.err.splitlines() if not line.startswith(("training on", "using preset"))]
    error = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    details = [line for line in lines if line.startswith("  - ")]
    assert len(error) == len(hints) == 1, result.err
    assert lines == error + details + hints
    assert message in error[0] + " ".join(details)
    assert hint in hints[0]
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("flags", "code", "message", "hint"),
    [
        (["--block_size=5000"], 1, "the train split has", "--block-size"),
        (["--block_size=500"], 1, "the val split has", "--val-fraction"),
        (["--n_head=3"], 2, "n_embd = 16 is not divisible by n_head = 3", ""),
        (["--preset", "cpu-tinny"], 2, "there is no preset 'cpu-tinny'", "cpu-tiny"),
        (["--block_sise=8"], 2, "--block-sise", "nanogpt train --help"),
        (["--device=gpu"], 2, "unknown device 'gpu'", "--device"),
        (["--device=cuda"], 2, "no CUDA GPU", "--device cpu"),
        (["--dataset=nowhere"], 1, "there is no dataset 'nowhere'", "input"),
        (["--dataset=input.txt"], 1, "input.txt is a file", "nanogpt prepare input.txt"),
        (["--batch_size=0"], 2, "batch_size must be", ""),
        (["--learning_rate=fast"], 2, "learning_rate must be a number", ""),
        (["--out_dir=input.txt"], 2, "out_dir input.txt is a file", "--out-dir"),
        (["--resume"], 1, "no trained run", "nanogpt train"),
        (["--resume", "--out_dir=nowhere"], 2, "there is no run nowhere", "nanogpt train"),
        (["nothing.toml"], 2, "there is no configuration file nothing.toml", ""),
        (["--init_from=nowhere/"], 1, "nowhere", "--init-from"),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, list) else "",
)
def test_wrong_input(
    flags: list[str], code: int, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    prepare()
    assert_refused(train(*flags), code, message, hint)


def test_without_any_dataset() -> None:
    assert_refused(train(), 1, "there is no prepared dataset under data/", "nanogpt prepare input.txt")


def test_an_unknown_key_in_a_file_is_named_with_its_line() -> None:
    prepare()
    Path("my.toml").write_text("n_layer = 2\nblok_size = 8\n", encoding="utf-8")
    result = run_cli("train", "my.toml")
    assert_refused(result, 2, "my.toml:2", "")
    assert "block_size" in result.err


def test_token_ids_outside_the_vocabulary() -> None:
    """nanoGPT dies of a CUDA assertion here, or trains on garbage."""
    folder = Path("data/foreign")
    folder.mkdir(parents=True)
    for name in ("train", "val"):
        np.full(100, 60_000, dtype=np.uint16).tofile(folder / f"{name}.bin")
    assert_refused(
        train("--dataset=foreign"), 1, "token id 60,000, outside the vocabulary", "nanogpt prepare"
    )


def test_a_dataset_that_changed_since_the_checkpoint() -> None:
    trained()
    prepare(TEXT + "One line more.\n")
    log = (RUN / "train.log").read_bytes()
    result = run_cli("train", "--resume")
    assert result.code == 1
    error, hint = result.err.splitlines()[-2:]
    assert error.startswith("error: the dataset data/input has changed since iter_00000006 was saved")
    assert hint.startswith("hint: prepare the old text again, or start a new run: nanogpt train")
    assert (RUN / "train.log").read_bytes() == log


def test_a_full_disk_at_the_last_save(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare()

    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nanogpt_cli.engine.saving.save_checkpoint", full)
    result = train()
    assert result.code == 1
    warning, *_, error, hint = [
        line for line in result.err.splitlines() if line.startswith(("warning", "error", "hint"))
    ]
    assert warning.startswith("warning: iteration 3 was not saved")
    assert error.startswith("error: iteration 6, the last, was not saved: ")
    assert "No space left on device" in error
    assert "make room" in hint
