"""`nanogpt eval`: figures that agree with each other, as lines and as JSON, and its refusals."""

import math
import re
from pathlib import Path

import pytest

from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.engine import flops
from tests.cli.tiny_run import RUN, TEXT, prepare, train, trained
from tests.helpers import Result, run_cli

KEYS = [
    "schema_version",
    "checkpoint",
    "dataset",
    "split",
    "dtype",
    "tokens",
    "loss",
    "bits_per_byte",
    "ppl",
]


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)
    trained()


def test_json_of_the_newest_run() -> None:
    document = run_cli("eval", "--json").json()
    assert sorted(document) == sorted(KEYS)
    assert document["schema_version"] == 1
    assert document["checkpoint"].startswith(f"{RUN}/checkpoints/iter_")
    assert (document["dataset"], document["split"]) == ("data/input", "val")


def test_every_token_of_the_split_and_its_bytes_are_counted() -> None:
    """Bits per byte = nats / ln 2 over the UTF-8 bytes of all characters but the first."""
    dataset = open_dataset("input")
    for split in ("train", "val"):
        document = run_cli("eval", "--split", split, "--json").json()
        tokens = dataset.tokens(split)
        assert document["tokens"] == len(tokens) - 1
        assert document["ppl"] == pytest.approx(math.exp(document["loss"]))
        assert dataset.tokenizer is not None
        n_bytes = len(dataset.tokenizer.decode(tokens[1:]).encode())
        bits = document["loss"] * document["tokens"] / math.log(2)
        assert document["bits_per_byte"] == pytest.approx(bits / n_bytes)


def test_the_batch_size_does_not_change_the_loss() -> None:
    losses = [run_cli("eval", "--batch-size", size, "--json").json()["loss"] for size in (1, 7, 64)]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)


def test_a_run_is_measured_in_the_format_it_trains_in_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the CPU multiplies bfloat16 a run that is left to choose trains in it."""
    for module in ("device", "evaluate"):
        monkeypatch.setattr(f"nanogpt_cli.engine.{module}.has_fast_cpu_bfloat16", lambda: True)
    assert "in float32\n" in run_cli("eval", RUN).err, "as it was set"
    assert train("--dtype=auto", "--out_dir=out/auto").code == 0
    told = run_cli("eval", "out/auto")
    assert "in bfloat16, as it trains here\n" in told.err
    default, exact = (
        run_cli("eval", "out/auto", "--json", *flag).json() for flag in ((), ("--dtype=float32",))
    )
    assert (default["dtype"], exact["dtype"]) == ("bfloat16", "float32")
    assert default["loss"] != exact["loss"]
    assert default["loss"] == pytest.approx(exact["loss"], abs=1e-3)
    monkeypatch.setattr("nanogpt_cli.engine.evaluate.has_fast_cpu_bfloat16", lambda: False)
    assert run_cli("eval", "out/auto", "--json").json() == exact


def test_several_runs_come_as_a_list() -> None:
    last = RUN / "checkpoints" / "iter_00000003"
    documents = run_cli("eval", RUN, last, "--json").json()
    assert [document["checkpoint"] for document in documents][1] == str(last)
    assert [sorted(document) for document in documents] == [sorted(KEYS)] * 2


def test_last_and_best() -> None:
    assert run_cli("eval", "--checkpoint", "last", "--json").json()["checkpoint"].endswith("iter_00000006")


def test_a_pipe_gets_one_line_a_run() -> None:
    result = run_cli("eval", RUN, RUN)
    assert result.code == 0
    assert "\x1b" not in result.out + result.err
    pattern = (
        rf"{RUN}/checkpoints/iter_0000000\d: val loss \d\.\d{{4}}, ppl \d+\.\d{{3}}, "
        r"bits per byte \d+\.\d{4}, \d+ tokens"
    )
    lines = result.out.splitlines()
    assert len(lines) == 2
    assert all(re.fullmatch(pattern, line) for line in lines), lines
    assert result.err.splitlines()[-1].startswith("next: nanogpt sample ")


def test_another_text_in_the_same_tokens() -> None:
    Path("other.txt").write_text(TEXT[:400], encoding="utf-8")
    assert run_cli("prepare", "other.txt", "--block-size", 8).code == 0
    assert run_cli("eval", "--dataset", "other", "--json").json()["dataset"] == "data/other"


# --- Refusals


def assert_refused(result: Result, code: int, message: str, hint: str) -> None:
    assert result.code == code, result.err
    assert result.out == ""
    error, said = result.err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert said.startswith("hint: ")
    assert hint in said


def test_a_dataset_that_changed() -> None:
    prepare(TEXT * 2)  # the same characters
    assert_refused(run_cli("eval"), 1, "has changed since", f"nanogpt eval {RUN} --dataset data/input")
    assert run_cli("eval", RUN, "--dataset", "data/input").code == 0, "the hint is a command that works"


def test_a_dataset_with_another_tokenizer() -> None:
    Path("other.txt").write_text(TEXT, encoding="utf-8")
    assert run_cli("prepare", "other.txt", "--tokenizer", "byte").code == 0
    assert_refused(run_cli("eval", "--dataset", "other"), 1, "has another tokenizer (byte)", "--dataset NAME")


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["nowhere"], 2, "there is no run nowhere", str(RUN)),
        (["data"], 1, "data holds no complete checkpoint", str(RUN)),
        (["--dataset", "nowhere"], 1, "there is no dataset 'nowhere'", "input"),
        (["--split", "test"], 2, "--split", "nanogpt eval --help"),
        (["--batch-size", "0"], 2, "--batch-size", "nanogpt eval --help"),
        (["--device", "cuda"], 2, "no CUDA GPU", "--device cpu"),
    ],
)
def test_wrong_input(
    arguments: list[str], code: int, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_refused(run_cli("eval", *arguments), code, message, hint)


def test_a_damaged_checkpoint() -> None:
    train("--overwrite", "--max_iters=1")
    (path,) = (RUN / "checkpoints").iterdir()
    raw = bytearray((path / "model.safetensors").read_bytes())
    raw[-1] ^= 0xFF
    (path / "model.safetensors").write_bytes(raw)
    assert_refused(run_cli("eval"), 1, "model.safetensors is not what was saved", "nanogpt train --resume")


def test_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert_refused(
        run_cli("eval"), 1, "there is no trained run under out/", "nanogpt train --preset cpu-tiny"
    )
