"""Each trainer's lines, as its source prints them: what is read from them, and which trainer is named."""

import math

import pytest

from nanogpt_cli.explain.records import EvalPoint, IterPoint
from tests.explain.samples import only_run, parse_text

NANOCHAT = """\
GPU: NVIDIA H100 80GB HBM3 | Peak FLOPS (BF16): 9.89e+14
Vocab size: 65,536
Total batch size 524,288 => gradient accumulation steps: 1
Number of parameters: 560,988,160
Estimated FLOPs per token: 3.491758e+09
Step 00000 | Validation bpb: 3.2997
step 00000/21400 (0.00%) | loss: 11.090355 | lrm: 1.00 | dt: 23156.74ms | tok/sec: 22,640 | mfu: 1.00 | total time: 0.00m
step 00001/21400 (0.00%) | loss: 10.808654 | lrm: 1.00 | dt: 649.22ms | tok/sec: 807,569 | mfu: 35.64 | total time: 0.00m
step 00011/21400 (0.05%) | loss: 8.010101 | grad norm: 0.4512 | lrm: 1.00 | dt: 500.10ms | tok/sec: 1,048,366 | bf16_mfu: 46.27 | epoch: 2 | total time: 0.12m | eta: 190.0m
Step 00250 | Validation bpb: 1.1500
2025-10-13 - nanochat.checkpoint_manager - INFO - Saved model file to: base_checkpoints/d4/model_000250.pt
Total training time: 171.05m
"""  # noqa: E501

LLM_C = """\
| device                | NVIDIA A100-SXM4-80GB                              |
| peak TFlops           | 312.0                                              |
| micro batch size B    | 64                                                 |
| sequence length T     | 1024                                               |
| total batch size      | 524288                                             |
| vocab_size V          | 50257                                              |
| num_parameters        | 124475904                                          |
val loss 11.009346
step    1/19560 | loss 11.009048 (+nanz)| norm 15.3737 (+nanz)| lr 8.57e-07 | 3084.05 ms | -100.0% bf16 MFU | 170000 tok/s
step    2/19560 | loss 10.964104 (+0.11z)| norm 15.2501 (+0.20z)| lr 1.71e-06 | 2979.00 ms | 52.0% bf16 MFU | 176000 tok/s
val loss 10.512000
step    3/19560 | loss 10.900000 (+0.11z)| norm 15.1000 (+0.20z)| lr 2.57e-06 | 2980.10 ms | 52.1% bf16 MFU | 175941 tok/s
Writing checkpoint at step 3
"""  # noqa: E501

LITGPT = """\
Total parameters: 1,034,512,384
Epoch 1 | iter 1 step 0 | loss train: 10.938, val: n/a | iter time: 595.27 ms remaining time: 3:01:00
Epoch 1 | iter 2 step 1 | loss train: 10.500, val: n/a | iter time: 300.10 ms (step) remaining time: 3:00:00
iter 2: val loss 10.4321, val time: 1234.56 ms
Epoch 1 | iter 3 step 1 | loss train: 10.100, val: 10.432 | iter time: 301.00 ms remaining time: 2:59:00
Saving checkpoint to 'out/step-00000001'
| - Training Time : 12.50 s
Final evaluation | val loss: 9.876 | val ppl: 19458.000
"""

TITAN = """\
[rank0]:2025-01-01 10:00:00,001 - root - INFO - Model llama3 debugmodel size: 6,163,712 total parameters
[rank0]:2025-01-01 10:00:00,002 - root - INFO - CUDA capacity: NVIDIA H100 with 95.04GiB memory
[rank0]:2025-01-01 10:00:00,003 - root - INFO - Peak FLOPS used for computing MFU: 9.890e+14
[rank0]:2025-01-01 10:00:00,004 - root - INFO - Trainer is initialized with local batch size 8, global batch size 64, gradient accumulation steps 1, sequence length 2048, total steps 1000 (warmup 2).
[rank0]:2025-01-01 10:00:01,000 - root - INFO - \x1b[31mstep:  1  \x1b[32mloss:  8.13210  \x1b[33mgrad_norm:  1.2345  \x1b[36mmemory: 1.44GiB(1.52%)  \x1b[34mtps: 16,384  \x1b[36mtflops: 1.23  \x1b[35mmfu: 0.12%\x1b[39m
[rank0]:2025-01-01 10:00:02,000 - root - INFO - \x1b[31mstep: 10  \x1b[32mloss:  4.5000  \x1b[33mmemory: 1.44GiB(1.52%)  \x1b[34mwps: 20,000  \x1b[35mmfu: N/A\x1b[39m
[rank0]:2025-01-01 10:00:03,000 - root - INFO - \x1b[33mvalidate step: 10  \x1b[32mloss:  4.4000  memory: 1.44GiB(1.52%)  tps: 16,384\x1b[39m
[rank0]:2025-01-01 10:00:03,000 - root - INFO - Saving the checkpoint (or staging if async is enabled).
[rank0]:2025-01-01 10:00:04,000 - root - INFO - Finished saving the checkpoint in 1.00 seconds.
"""  # noqa: E501

TRAINER = """\
***** Running training *****
  Num examples = 1,000
  Num Epochs = 2
  Total optimization steps = 250
  Number of trainable parameters = 124,439,808
{'loss': 3.4012, 'grad_norm': 1.51, 'learning_rate': 4e-05, 'epoch': 0.4}
{'loss': '3.2011', 'grad_norm': '1.2', 'learning_rate': '3e-05', 'epoch': '0.8'}
{'eval_loss': 3.1, 'eval_runtime': 1.5, 'eval_samples_per_second': 66.0, 'epoch': 1.0}
{'loss': nan, 'grad_norm': nan, 'learning_rate': 2e-05, 'epoch': 1.2}
Saving model checkpoint to out/checkpoint-150
{'train_runtime': 61.5, 'train_samples_per_second': 32.5, 'train_loss': 3.2, 'epoch': 2.0}
"""

MODDED = """\
import torch
print0(f"step:{step}/{train_steps} val_loss:{val_loss:.4f} train_time:{training_time_ms:.0f}ms")
batch_size = 8
====================================================================================================
step:0/1393 val_loss:10.8258 train_time:0ms step_avg:nanms
step:1/1393 train_time:17608ms step_avg:nanms
step:2/1393 train_time:17738ms step_avg:nanms
step:12/1393 train_time:260ms step_avg:130.10ms
step:13/1393 train_time:391ms step_avg:130.20ms
step:125/1393 val_loss:4.3817 train_time:15000ms step_avg:130.43ms extrap:0.1
"""


def test_nanochat() -> None:
    run = only_run(NANOCHAT)
    assert (run.trainer, run.val_unit, run.smoothed, run.nanogpt_habits) == ("nanochat", "bpb", True, False)
    assert (run.n_params, run.vocab_size, run.tokens_per_iter) == (560_988_160, 65_536, 524_288)
    assert (run.peak_flops, run.flops_per_token) == (9.89e14, 3.491758e9)
    assert run.iters[0] == IterPoint(0, 11.090355, 23156.74, 0.01, tokens_per_second=22640.0)
    assert run.iters[2] == IterPoint(
        11, 8.010101, 500.1, pytest.approx(0.4627), grad_norm=0.4512, tokens_per_second=1048366.0
    )
    assert run.evals == [EvalPoint(0, None, 3.2997), EvalPoint(250, None, 1.15)]
    assert run.setting("max_iters") == 21400
    assert (run.epochs_seen, run.wall_seconds) == (2, pytest.approx(171.05 * 60))
    assert run.checkpoints == [250]


def test_nanochat_chat_training() -> None:
    run = only_run(
        "Step 00000 | Validation loss: 1.180000\n"
        "Step 00000/00700 | Training loss: 1.234567| lrm: 1.000000| num_tokens: 10,000\n"
        "step 00001 (0.10%) | loss: 1.200000 | lrm: 1.00 | dt: 10.00ms | tok/sec: 1,000 | mfu: 4.00\n"
    )
    assert (run.val_unit, run.evals[0].val_loss) == ("nats", 1.18)
    assert [p.loss for p in run.iters] == [1.234567, 1.2]


def test_llm_c_console() -> None:
    run = only_run(LLM_C)
    assert (run.trainer, run.device, run.peak_flops) == ("llm.c", "NVIDIA A100-SXM4-80GB", 312e12)
    assert (run.tokens_per_iter, run.vocab_size, run.n_params) == (524_288, 50_257, 124_475_904)
    assert run.iters[0] == IterPoint(1, 11.009048, 3084.05, None, True, 8.57e-07, 15.3737, 170000.0)
    assert (run.iters[1].mfu, run.iters[1].mfu_pending) == (0.52, False)
    assert run.evals == [EvalPoint(0, None, 11.009346), EvalPoint(2, None, 10.512)]
    assert (run.setting("max_iters"), run.setting("batch_size"), run.checkpoints) == (19560, 64, [3])


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("step    1/10: train loss 5.356000 (80.6 ms, 50789 tok/s)",
         IterPoint(1, 5.356, 80.6, tokens_per_second=50789.0)),
        ("step 1: train loss 5.356 (took 1823.4 ms)", IterPoint(1, 5.356, 1823.4)),
        (
            "step    1/40 | train loss 4.670000 | norm 1.2000 | lr 3.00e-04 | (91.2 ms | 44911 tok/s)",
            IterPoint(1, 4.67, 91.2, lr=3e-4, grad_norm=1.2, tokens_per_second=44911.0),
        ),
        ("iteration 1, loss: 4.2000, time: 91.200ms, tok/s: 44911.10",
         IterPoint(1, 4.2, 91.2, tokens_per_second=44911.1)),
        ("s:5 trl:10.9656 lr:0.000600 norm:15.37", IterPoint(5, 10.9656, lr=0.0006, grad_norm=15.37)),
    ],
)  # fmt: skip
def test_llm_c_in_its_other_forms(line: str, point: IterPoint) -> None:
    run = only_run(line)
    assert (run.trainer, run.iters) == ("llm.c", [point])


def test_llm_c_main_log() -> None:
    run = only_run("s:0 tel:10.9689\ns:0 trl:10.9656\ns:1 trl:-nan\ns:250 eval:0.2496\ns:2 tel:10.5\n")
    assert [p.iter_num for p in run.iters] == [0, 1]
    assert math.isnan(run.iters[1].loss or 0)
    assert [e.val_loss for e in run.evals] == [10.9689, 10.5]  # HellaSwag's accuracy is no loss


def test_build_nanogpt() -> None:
    run = only_run(
        "total desired batch size: 524288\n"
        "validation loss: 10.9511\nHellaSwag accuracy: 2534/10042=0.2523\n"
        "step     0 | loss: 10.955029 | lr 8.3916e-07 | norm: 15.3379 | dt: 1234.56ms | tok/sec: 424675.12\n"
        "step     1 | loss: 10.9 | lr 1.6e-06 | norm: 15.1 | dt: 340.00ms | tok/sec: 1542023.50\n"
        "validation loss: 10.5000\n"
    )
    assert (run.trainer, run.tokens_per_iter) == ("build-nanogpt", 524_288)
    assert run.iters[0] == IterPoint(0, 10.955029, 1234.56, None, False, 8.3916e-07, 15.3379, 424675.12)
    assert [e.iter_num for e in run.evals] == [0, 2]
    file = only_run("0 val 10.9511\n0 hella 0.2463\n0 train 10.955029\n1 train 10.7\n")
    assert (file.trainer, file.n_iter_lines, file.n_eval_lines) == ("build-nanogpt", 2, 1)


def test_modded_nanogpt() -> None:
    run = only_run(MODDED)
    assert (run.trainer, run.config) == ("modded-nanogpt", {"max_iters": 1393})
    assert [p.loss for p in run.iters] == [None] * 4
    assert [p.time_ms for p in run.iters] == [17608, 130, None, 131]  # the clock was reset after step 10
    assert run.evals == [EvalPoint(0, None, 10.8258), EvalPoint(125, None, 4.3817)]
    assert run.wall_seconds == 15


def test_modded_nanogpt_of_2024_and_2026() -> None:
    old = only_run("step:1/6000 train_loss:11.0091 train_time:24179ms step_avg:nanms\n")
    assert old.iters[0].loss == 11.0091
    new = only_run("step:125/3350 val_loss:4.66393 train_time:22.870s step_avg:182.95ms\n")
    assert (new.evals[0].val_loss, new.wall_seconds) == (4.66393, 22.87)


def test_litgpt() -> None:
    run = only_run(LITGPT)
    assert (run.trainer, run.n_params, run.epochs_seen) == ("litgpt", 1_034_512_384, 1)
    assert run.iters[0] == IterPoint(1, 10.938, 595.27)
    assert run.evals == [EvalPoint(2, None, 10.4321, eval_ms=1234.56), EvalPoint(3, None, 9.876)]
    assert (run.checkpoints, run.wall_seconds) == ([3], 12.5)


@pytest.mark.parametrize(
    "line",
    [
        "iter 100 step 25: loss 2.3456, iter time: 123.45ms (optimizer.step)",
        "iter 100 | step 25: loss 2.3456, iter time: 123.45 ms (step)",
        "Ep 1 | iter 100 | stEp 25: loss train (curr): 2.3456, val (prev): None | iter time: 123.45 ms",
    ],
)
def test_litgpt_of_2023(line: str) -> None:
    run = only_run(line)
    assert (run.trainer, run.iters) == ("litgpt", [IterPoint(100, 2.3456, 123.45)])


def test_torchtitan() -> None:
    run = only_run(TITAN)
    assert (run.trainer, run.n_params, run.device) == ("torchtitan", 6_163_712, "NVIDIA H100")
    assert (run.peak_flops, run.tokens_per_iter, run.setting("max_iters")) == (9.89e14, 64 * 2048, 1000)
    first = IterPoint(1, 8.1321, mfu=pytest.approx(0.0012), grad_norm=1.2345, tokens_per_second=16384.0)
    assert run.iters == [first, IterPoint(10, 4.5, tokens_per_second=20000.0)]
    assert (run.evals, run.checkpoints) == ([EvalPoint(10, None, 4.4)], [10])


def test_hugging_face_trainer() -> None:
    run = only_run(TRAINER)
    assert (run.trainer, run.n_params, run.setting("max_iters")) == ("hf-trainer", 124_439_808, 250)
    assert run.iters[:2] == [
        IterPoint(50, 3.4012, lr=4e-5, grad_norm=1.51),
        IterPoint(100, 3.2011, lr=3e-5, grad_norm=1.2),
    ]
    assert run.iters[2].iter_num == 150
    assert math.isnan(run.iters[2].loss or 0)
    assert run.evals == [EvalPoint(125, None, 3.1)]
    assert (run.checkpoints, run.wall_seconds, run.epochs_seen) == ([150], 61.5, 2)
    assert run.ending is not None
    assert run.ending.reason == "finished"


def test_the_trainers_steps_from_the_progress_bar() -> None:
    text = (
        "  0%|          | 0/300 [00:00<?, ?it/s]\r 33%|███▎      | 100/300 [00:10<00:20, 10.0it/s]\n"
        "{'loss': 3.0, 'learning_rate': 1e-05, 'epoch': 0.33}\r"
        "\r  0%|          | 0/20 [00:00<?, ?it/s]\r 50%|█████     | 10/20 [00:01<00:01, 9.0it/s]\n"
        "{'eval_loss': 2.9, 'epoch': 0.33}\n"
        " 67%|██████▋   | 200/300 [00:20<00:10, 10.0it/s]{'loss': 2.8, 'grad_norm': 1, 'epoch': 0.67}\n"
    )
    run = only_run(text)
    assert [p.iter_num for p in run.iters] == [100, 200]
    assert [e.iter_num for e in run.evals] == [100]
    assert run.setting("max_iters") == 300


def test_the_trainers_dicts_alone_are_counted() -> None:
    text = "".join(f"{{'loss': {3 - i / 10}, 'learning_rate': 1e-05, 'epoch': 0.{i}}}\n" for i in range(1, 4))
    run = only_run(text + "{'eval_loss': 2.7, 'epoch': 0.3}\n")
    assert [p.iter_num for p in run.iters] == [1, 2, 3]
    assert [e.iter_num for e in run.evals] == [3]


def test_mingpt_counts_through_the_epochs() -> None:
    bar = "100%|██████████| 17/17 [00:04<00:00,  3.78it/s]"
    text = "".join(
        f"epoch {epoch} iter {i}: train loss {3 - epoch / 10:.5f}. lr 5.9e-04: {bar}\r"
        for epoch in (1, 2)
        for i in (8, 8, 16)
    )
    run = only_run(text + "2020-08-24 - mingpt.trainer - INFO -   test loss: 2.5\n")
    assert (run.trainer, [p.iter_num for p in run.iters]) == ("mingpt", [8, 16, 25, 33])
    assert (run.iters[0].lr, run.epochs_seen) == (5.9e-4, 2)
    assert parse_text(text).n_duplicated_lines == 0  # tqdm draws a line again and again
    newer = only_run("iter_dt 12.34ms; iter 100: train loss 2.34567\n")
    assert (newer.trainer, newer.iters) == ("mingpt", [IterPoint(100, 2.34567, 12.34)])


def test_llama2_c() -> None:
    run = only_run("100 | loss 3.1234 | lr 5.000000e-04 | 123.45ms | mfu -100.00%\n")
    assert run.iters == [IterPoint(100, 3.1234, 123.45, None, True, 5e-4)]


@pytest.mark.parametrize(
    ("text", "trainer"),
    [(NANOCHAT, "nanochat"), (LLM_C, "llm.c"), (MODDED, "modded-nanogpt"), (LITGPT, "litgpt"),
     (TITAN, "torchtitan"), (TRAINER, "hf-trainer")],
)  # fmt: skip
def test_the_format_is_said(text: str, trainer: str) -> None:
    assert parse_text(text).format == trainer


def test_litgpt_lora_is_a_large_model_that_trains_a_few_weights() -> None:
    text = "Number of trainable parameters: 12,226,560\nNumber of non-trainable parameters: 2,779,683,840\n"
    assert only_run(text + LITGPT.splitlines()[-1] + "\n").n_params == 12_226_560 + 2_779_683_840


def test_a_lagging_progress_bar_is_no_resume() -> None:
    """tqdm draws once in a while into a file; the lines between are counted on from what it showed."""
    lines = []
    for epoch in range(1, 5):
        lines += [f"{{'loss': {3 - 0.1 * epoch}, 'epoch': {epoch - 0.2 * i:.1f}}}" for i in (4, 3, 2, 1, 0)]
        lines += [f"{{'eval_loss': {3 - 0.1 * epoch}, 'eval_runtime': 1.0, 'epoch': {epoch}.0}}"]
        lines += [f" {epoch * 10}%|###       | {epoch * 100}/1000 [10:00<90:00,  6.00s/it]"]
    run = only_run("\n".join(lines) + "\n")
    assert run.resumed_at == []
    assert len(run.evals) == 4
    steps = [e.iter_num for e in run.evals]
    assert steps == sorted(steps)
    assert run.iters[-1].iter_num <= steps[-1]
