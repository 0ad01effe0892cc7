"""Lines explained: every number against arithmetic done here by hand."""

import math
import re
from pathlib import Path
from typing import cast

import pytest

from nanogpt_cli.accelerators import ACCELERATORS, accelerator
from nanogpt_cli.explain.records import IterPoint, Run, Trainer
from nanogpt_cli.explain.report import explain, explain_log
from tests.explain.samples import WITH_TABLE, falling, metrics, run_log

HEADER = """\
Overriding: device = cuda
Overriding: learning_rate = 0.001
Overriding: min_lr = 0.0001
Overriding: warmup_iters = 100
Overriding: lr_decay_iters = 5000
Overriding: max_iters = 5000
Overriding: eval_iters = 200
Overriding: n_layer = 6
Overriding: n_head = 6
Overriding: n_embd = 384
Overriding: block_size = 256
Overriding: batch_size = 64
Overriding: gradient_accumulation_steps = 1
tokens per iteration will be: 16,384
found vocab_size = 65 (inside data/shakespeare_char/meta.pkl)
Initializing a new model from scratch
number of parameters: 10.65M
"""
# nanoGPT's three famous lines, at the end of a run of such lines.
TRIO = """\
iter 4990: loss 0.8212, time 33.23ms, mfu 11.09%
step 5000: train loss 0.6224, val loss 1.7044
iter 5000: loss 0.8236, time 4446.83ms, mfu 9.99%
"""


def run(n_lines: int = 60) -> str:
    lines = [HEADER, "step 1000: train loss 0.7100, val loss 1.6500\n"]
    for k in range(n_lines):
        lines.append(
            f"iter {4990 - 10 * (n_lines - k)}: loss {0.82 + 0.01 * (k * 7 % 5):.4f}, "
            f"time 33.2{k % 9}ms, mfu 11.09%\n"
        )
    return "".join(lines) + TRIO


def explained(
    text: str, tmp_path: Path, lines: tuple[int, int], **options: object
) -> dict[str, dict[str, str]]:
    path = tmp_path / "train.log"
    path.write_text(text, encoding="utf-8")
    found = explain_log(path, lines=lines, **options).lines  # type: ignore[arg-type]
    return {line.text: dict(line.parts) for line in found}


def test_the_famous_lines(tmp_path: Path) -> None:
    lines = explained(run(), tmp_path, (4990, 5000))
    before, evaluation, after = lines.values()
    assert list(lines) == TRIO.splitlines()

    assert (
        "the evaluation (and the saving of a checkpoint) just before it is inside this time" in after["time"]
    )
    usual = float(re.findall(r"usual is ([\d.]+) ms", after["time"])[0])
    assert f"about {4446.83 - usual:,.2f} ms" in after["time"]
    flops = (6 * 10.65e6 + 12 * 6 * 384 * 256) * 16384
    own = 100 * flops / 4.44683 / 312e12
    assert f"= {own:.2f} %. N leaves the position embeddings out" in after["mfu"]
    assert f"0.9 x 11.09 + 0.1 x {own:.2f} = {0.9 * 11.09 + 0.1 * own:.2f} %" in after["mfu"]
    assert "9.99 %" in after["mfu"]
    weights_only = 100 * 6 * 10.65e6 * 16384 / 0.03323 / 312e12
    assert f"(6 x N alone) it would be {weights_only:.2f} %" in before["mfu"]
    assert (
        "half of such a dip is gone from the average after 7 more lines, nine tenths of it after 22"
        in after["mfu"]
    )
    assert 0.9**7 < 0.5 < 0.9**6
    assert 0.9**22 < 0.1 < 0.9**21

    assert "1.7044 - 0.6224 = 1.0820 nats" in evaluation["difference"]
    assert "overfitting" in evaluation["difference"]
    assert f"exp(1.7044) = {math.exp(1.7044):.2f}" in evaluation["val loss"]
    assert f"{0.6224 / math.log(2):.3f} bits per token" in evaluation["train loss"]
    assert "The lowest so far was 1.6500 at iteration 1,000" in evaluation["val loss"]
    assert "mean over 200 batches of the training split" in evaluation["train loss"]


def test_a_loss_among_its_neighbours(tmp_path: Path) -> None:
    ordinary = run()
    assert "nothing special" in explained(ordinary, tmp_path, (4990, 4990)).popitem()[1]["loss"]
    high = ordinary.replace("iter 4990: loss 0.8212", "iter 4990: loss 0.9912")
    assert re.search(
        r"this one lies \d+\.\d times that scatter above",
        explained(high, tmp_path, (4990, 4990)).popitem()[1]["loss"],
    )
    low = ordinary.replace("iter 4990: loss 0.8212", "iter 4990: loss 0.5212")
    assert "an easy batch" in explained(low, tmp_path, (4990, 4990)).popitem()[1]["loss"]
    few = explained(HEADER + TRIO, tmp_path, (4990, 4990)).popitem()[1]["loss"]
    assert "scatter" not in few


def test_a_slow_line_without_a_reason_is_not_given_one(tmp_path: Path) -> None:
    slow = re.sub(r"(iter 4980: .*) time [\d.]+ms", r"\1 time 99.70ms", run())
    assert slow != run()
    time = explained(slow, tmp_path, (4980, 4980)).popitem()[1]["time"]
    assert "3.0 times as long, and nothing in the log says why" in time
    assert "evaluation" not in time


@pytest.mark.parametrize(
    ("iter_num", "words"),
    [
        (50, "warming up: it grows in a straight line to 1.000e-03 at iteration 100"),
        (
            2550,
            "along a cosine, not in a straight line, from 1.000e-03 to 1.000e-04 at iteration 5,000; 50 %",
        ),
        (5000, "decay ended at iteration 5,000; since then it stays at min_lr, 1.000e-04"),
    ],
)
def test_the_rate_and_its_phase(iter_num: int, words: str, tmp_path: Path) -> None:
    text = HEADER + f"iter {iter_num}: loss 2.0000, time 33.00ms, mfu 11.00%\n"
    rate = explained(text, tmp_path, (iter_num, iter_num)).popitem()[1]["learning rate"]
    assert words in rate
    assert "the line does not print it" in rate
    if iter_num == 2550:
        assert "5.500e-04" in rate  # the middle of a cosine


def test_a_rate_that_nothing_tells_is_not_invented(tmp_path: Path) -> None:
    parts = explained("iter 10: loss 2.0000, time 33.00ms\n", tmp_path, (10, 10)).popitem()[1]
    assert "learning rate" not in parts


def test_the_same_speed_on_another_device(tmp_path: Path) -> None:
    h100 = accelerator("NVIDIA H100 80GB HBM3")
    assert h100 is not None
    mfu = explained(run(), tmp_path, (4990, 4990), device=h100, device_peak=1e13).popitem()[1]["mfu"]
    rate = 0.1109 * 312
    assert f"That is {rate:,.3f} TFLOP/s; the same speed on one H100 (989.0 TFLOP/s, dense bfloat16)" in mfu
    assert f"would be {100 * rate / 989:.2f} %" in mfu
    assert f"of a peak of 10.000 TFLOP/s it would be {100 * rate / 10:.2f} %" in mfu


def test_a_cpu_is_told_that_an_a100_is_no_yardstick(tmp_path: Path) -> None:
    text = run().replace("device = cuda", "device = cpu").replace("11.09%", "0.03%").replace("9.99%", "0.03%")
    assert "0.03 % of an A100 says nothing" in explained(text, tmp_path, (4990, 4990)).popitem()[1]["mfu"]


def test_parameters_and_vocabulary_are_worked_out(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(run(), encoding="utf-8")
    lines = {line.text: dict(line.parts) for line in explain_log(path).lines}
    parameters = lines["number of parameters: 10.65M"]["parameters"]
    assert f"12 x 6 x 384^2 = {12 * 6 * 384**2:,} in the blocks" in parameters
    assert f"{10.65e6 - 12 * 6 * 384**2:,.0f} more in the token embedding" in parameters
    assert f"ln(65) = {math.log(65):.4f}" in lines["vocab_size = 65"]["vocabulary"]
    assert "1 x batch_size 64 x block_size 256" in lines["tokens per iteration will be: 16,384"]["tokens"]


def test_parameters_of_a_table_are_looked_up_and_not_computed_with(tmp_path: Path) -> None:
    """They were said to be the token embedding's."""
    path = tmp_path / "metrics.jsonl"

    def parameters(**changes: object) -> str:
        path.write_text(metrics(falling(4.2, 1.2, 21), **{**WITH_TABLE, **changes}), encoding="utf-8")
        (said,) = (
            dict(line.parts)["parameters"] for line in explain_log(path).lines if "number of" in line.text
        )
        return said

    said = parameters()
    assert "50,331,648 in the table of n-grams, ngram_rows 262,144 x n_embd 192" in said
    assert "12 x 4 x 192^2 = 1,769,472 in the blocks" in said
    assert "about 24,960 in the token embedding and the output layer" in said
    config = {**cast("dict[str, object]", WITH_TABLE["config"]), "ngram_order": 0}
    assert "about 24,960 more in the token embedding and the output layer, which are two" in parameters(
        config=config, n_params=1_769_472 + 24_960
    )


def test_the_precision_of_an_evaluation(tmp_path: Path) -> None:
    val = explained(run(300), tmp_path, (5000, 5000))[TRIO.splitlines()[1]]["val loss"]
    noise, batches, error = re.findall(
        r"scatter by ([\d.]+) here, so a mean over (\d+) of them is good to about ([\d.]+)", val
    )[0]
    assert int(batches) == 200
    assert float(error) == pytest.approx(float(noise) / math.sqrt(200), abs=1e-4)


def test_bits_per_byte_are_not_called_a_loss(tmp_path: Path) -> None:
    text = (
        "".join(
            f"step {i:05d}/00100 ({i}.00%) | loss: {3 - 0.01 * i:.6f} | lrm: 1.00 | dt: 644.65ms"
            f" | tok/sec: 813,000 | mfu: 50.77 | total time: {i / 60:.2f}m\n"
            for i in range(100)
        )
        + "Step 00100 | Validation bpb: 0.7533\n"
    )
    parts = explained(text, tmp_path, (100, 100)).popitem()
    assert parts[0] == "step 100: val bpb 0.7533"
    assert f"0.7533 bits per byte are {0.7533 * math.log(2):.4f} nats per byte" in parts[1]["val loss"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("rtx 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA L40", None),
        ("Tesla T4", "T4"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_devices_by_name(name: str, found: str | None) -> None:
    known = accelerator(name)
    assert (known.name if known else None) == found


def test_the_table_of_devices_is_plausible() -> None:
    for device in ACCELERATORS:
        assert accelerator(device.name) is device, "a longer name must stand before a shorter one"
        assert device.source.startswith("https://")
        assert all(1e12 < peak < 1e16 for peak in device.peak_flops.values())
        assert device.training_dtype in device.peak_flops


def test_a_steep_start_is_no_outlier(tmp_path: Path) -> None:
    """Where the loss falls fast, the lines around one say nothing about it."""
    text = "".join(
        f"iter {i}: loss {2 + 9 * 0.9**i + 0.01 * (i * 7 % 5):.4f}, time 33.00ms, mfu 11.09%\n"
        for i in range(200)
    )
    lines = explained(text, tmp_path, (0, 199))
    first, last = lines["iter 0: loss 11.0000, time 33.00ms, mfu 11.09%"], list(lines.values())[-1]
    assert "scatter" not in first["loss"]
    assert "this one is nothing special" in last["loss"]


def test_a_loss_beyond_a_million_has_no_perplexity_in_figures(tmp_path: Path) -> None:
    text = "iter 0: loss 130.5923, time 33.00ms, mfu 11.09%\n"
    (loss,) = (parts["loss"] for parts in explained(text, tmp_path, (0, 0)).values())
    assert "130.5923 nats are 188.405 bits per token" in loss
    assert "inf" not in loss


def test_tokens_of_several_devices_are_not_set_against_one_peak(tmp_path: Path) -> None:
    """nanochat prints the tokens per second of all GPUs beside the MFU of one."""
    head = "GPU: NVIDIA H100 80GB HBM3 | Peak FLOPS (BF16): 9.89e+14\nEstimated FLOPs per token: 4.9e+09\n"
    for tokens, said in ((102_000, True), (816_000, False)):
        text = head + "".join(
            f"step {i:05d}/01000 (0.10%) | loss: 2.{i:04d} | lrm: 1.00 | dt: 645.00ms | tok/sec: {tokens:,} "
            f"| bf16_mfu: 50.77 | epoch: 1 | total time: 1.00m\n"
            for i in range(30)
        )
        (mfu,) = (parts["mfu"] for parts in explained(text, tmp_path, (29, 29)).values())
        assert "989.000 TFLOP/s" in mfu
        assert ("tokens per second" in mfu) == said


@pytest.mark.parametrize(("trainer", "said"), [("nanogpt", True), ("torchtitan", False)])
def test_only_nanogpts_parameters_are_said_to_be_counted_its_way(trainer: Trainer, said: bool) -> None:
    run = Run(trainer=trainer, nanogpt_habits=said, n_params=8_030_261_248)
    run.iters = [IterPoint(i, 8.2, 900.0) for i in range(1, 9)]
    (counted,) = (
        dict(line.parts)["parameters"] for line in explain(run_log(run)).lines if "number of" in line.text
    )
    assert ("nanoGPT counts so" in counted) == said
