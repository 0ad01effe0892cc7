"""Faults that a review of `train` found, each as the user met it."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from nanogpt_cli.engine import flops
from nanogpt_cli.engine.checkpoint import list_checkpoints
from nanogpt_cli.engine.models.gpt2 import GPT2
from nanogpt_cli.events import Notice, Tee
from tests.cli.tiny_run import FLAGS, RUN, prepare, train, trained
from tests.helpers import run_cli


@pytest.fixture(autouse=True)
def known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)


def test_a_pipe_whose_reader_leaves_does_not_stop_the_run() -> None:
    """`nanogpt train 2>&1 | head -3` ended after three lines, with code 0 and nothing saved."""
    prepare()
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "nanogpt_cli", "train", "--preset", "cpu-tiny", *map(str, FLAGS)]
    with os.fdopen(writing, "wb") as broken:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=broken, check=False)
    assert done.returncode == 0
    assert list_checkpoints(RUN)


def test_a_reporter_that_fails_is_not_asked_again_and_the_others_go_on() -> None:
    heard = []

    class Broken:
        def emit(self, event: object) -> None:
            heard.append("broken")
            raise BrokenPipeError

        def close(self) -> None:
            raise OSError("still broken")

    class Listening:
        def emit(self, event: object) -> None:
            heard.append("listening")

        def close(self) -> None:
            heard.append("closed")

    tee = Tee(Broken(), Listening())
    for _ in range(2):
        tee.emit(Notice(message="hello"))
    tee.close()
    assert heard == ["broken", "listening", "listening", "closed"]


def test_a_full_disk_costs_the_records_but_neither_the_run_nor_its_result() -> None:
    """The buffered line failed a second time on closing, and took the JSON document with it."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    prepare()
    RUN.mkdir(parents=True)
    (RUN / "train.log").symlink_to("/dev/full")
    result = train("--json")
    assert result.code == 0
    assert result.json()["reason"] == "finished"
    assert "out/input-cpu-tiny/train.log cannot be written (no space left on device); training" in result.err
    assert "lines of out/input-cpu-tiny/train.log were never written" in result.err
    ends = (RUN / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert '"event":"end"' in ends  # the other file is none the worse


def test_two_runs_started_together_do_not_share_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found the name free, and wrote into one metrics.jsonl."""
    trained()
    monkeypatch.setattr("nanogpt_cli.engine.runs.free_run_dir", lambda wanted: wanted)
    before = (RUN / "metrics.jsonl").read_bytes()
    result = train()
    assert result.code == 1
    assert "another run has just started" in result.err
    assert (RUN / "metrics.jsonl").read_bytes() == before


def test_an_evaluation_that_is_not_finite_is_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step ruined the weights: the run "finished", and saved them as the newest checkpoint."""
    prepare()
    real = GPT2.forward

    def forward(self: GPT2, *args: object) -> object:
        logits, loss = real(self, *args)  # type: ignore[arg-type]
        if not self.training and loss is not None and list_checkpoints(RUN):
            loss = loss * float("nan")
        return logits, loss

    monkeypatch.setattr(GPT2, "forward", forward)
    result = train()
    assert result.code == 3
    assert "the evaluation gives train loss nan" in result.err
    assert [path.name for path in list_checkpoints(RUN)] == ["iter_00000003"]


def test_memory_that_cannot_be_had_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the model was outside of what was caught."""
    prepare()

    def build(*_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    monkeypatch.setattr("nanogpt_cli.engine.start.new_model", build)
    result = train()
    assert result.code == 1
    error = next(line for line in result.err.splitlines() if line.startswith("error: "))
    assert error.startswith("error: out of memory with batch_size = 4 and block_size = 8: the run needs")
    assert result.err.splitlines()[-1].startswith("hint: ")
    assert "Traceback" not in result.err
    assert not RUN.exists()


def test_resuming_refuses_what_it_would_ignore() -> None:
    trained()
    assert "give one of the two" in run_cli("train", "--resume", "--overwrite").err
    assert "starts from its checkpoint" in run_cli("train", "--resume", "--init-from", "gpt2").err
    result = run_cli("train", "--resume", "--preset", "cpu-tiny")
    assert result.code == 0
    assert "--preset cpu-tiny is not read" in result.err


def test_overwriting_leaves_no_tokenizer_of_the_old_run() -> None:
    trained()
    tokenizer = RUN / "nanogpt_tokenizer.json"
    assert tokenizer.exists()
    dataset = Path("data/input")
    (dataset / "meta.json").unlink()
    (dataset / tokenizer.name).unlink()
    (dataset / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 300}))
    result = train("--out-dir", RUN, "--overwrite")
    assert result.code == 0, result.err
    assert not tokenizer.exists()
    assert "has no tokenizer" in run_cli("sample", RUN).err
    assert run_cli("eval", RUN, "--json").json()["bits_per_byte"] is None


def test_a_checkpoint_folder_can_be_named_from_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    trained()
    monkeypatch.chdir(RUN / "checkpoints")
    name = list_checkpoints(Path(".."))[-1].name
    assert run_cli("sample", name, "--max-new-tokens", 3, "--prompt", "a").code == 0
