"""The trainer against a loop written here from the published equations, with transformers' model."""

import math
from pathlib import Path

import pytest
import torch
import transformers

from nanogpt_cli.engine.interop.hf import to_hf
from nanogpt_cli.events import StepLogged
from tests.engine.tiny import VOCAB_SIZE, Recorder, build_trainer, tiny_config

N_ITERS = 50
CONFIG = tiny_config(
    bias=True,
    max_iters=N_ITERS,
    warmup_iters=4,
    lr_decay_iters=44,
    grad_clip=0.7,
    weight_decay=0.5,
    batch_size=3,
    gradient_accumulation_steps=2,
    eval_interval=N_ITERS,
)


def test_losses_and_gradient_norms_equal_those_of_a_plain_loop(tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = build_trainer(tmp_path, CONFIG, reporter=recorder)
    weights = {name: p.clone() for name, p in to_hf(trainer.raw_model).items()}
    tokens = torch.from_numpy(trainer.batches.train.tokens.astype("int64"))
    starts = [trainer.batches.train.starts(i, 6).tolist() for i in range(N_ITERS)]
    trainer.run()
    steps = recorder.of(StepLogged)

    losses, norms = plain_loop(weights, tokens, starts)
    assert len(losses) == len(steps) == N_ITERS
    assert losses[-1] < losses[0] - 0.3, "nothing was learnt: equality would mean little"
    assert [step.loss for step in steps] == pytest.approx(losses, abs=1e-4)
    assert [step.grad_norm for step in steps] == pytest.approx(norms, rel=1e-3)
    assert max(norms) > CONFIG.grad_clip, "clipping was never at work"


def plain_loop(
    weights: dict[str, torch.Tensor], tokens: torch.Tensor, starts: list[list[int]]
) -> tuple[list[float], list[float]]:
    """AdamW on GPT2LMHeadModel; nothing of ours but the first weights and the windows.

    The six windows of an iteration are one batch here, two micro-batches in the trainer.
    """
    shape = transformers.GPT2Config(
        vocab_size=VOCAB_SIZE,
        n_positions=8,
        n_embd=16,
        n_layer=2,
        n_head=2,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(shape)
    model.load_state_dict({**weights, "lm_head.weight": weights["transformer.wte.weight"]})
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.5}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        fused=False,
        foreach=False,
    )
    losses, norms = [], []
    for i, rows in enumerate(starts):
        if i < 4:
            lr = 1e-2 * (i + 1) / 5
        elif i >= 44:
            lr = 1e-3
        else:
            lr = 1e-3 + 0.5 * (1 + math.cos(math.pi * (i - 4) / 40)) * 9e-3
        for group in optimizer.param_groups:
            group["lr"] = lr
        inputs = torch.stack([tokens[s : s + 8] for s in rows])
        targets = torch.stack([tokens[s + 1 : s + 9] for s in rows])
        logits = model(input_ids=inputs).logits
        loss = -logits.log_softmax(dim=-1).gather(2, targets[:, :, None]).mean()
        optimizer.zero_grad()
        loss.backward()
        gradients = [p.grad for p in model.parameters()]
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        if norm > 0.7:
            for gradient in gradients:
                gradient.mul_(0.7 / norm)
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm)
    return losses, norms
