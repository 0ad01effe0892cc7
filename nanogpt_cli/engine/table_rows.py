"""Training tables of which an iteration looks up a few thousand rows among many.

A row moves against the sum of the gradients of the tokens that looked it up, in units of the batch's root
mean square gradient (normalised gradient descent: Hazan, Levy & Shalev-Shwartz 2015,
https://arxiv.org/abs/1507.02030). So a string that is met often moves far and one met once hardly does; Adam,
whose steps have one size, learns strings met once by heart, and spends most of an iteration on rows that
nobody asked for. There are no moments to keep.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.models.ngrams import Lookup


def update_rows(
    weight: Tensor,
    lookups: Sequence[Lookup],
    *,
    lr: float,
    dist: Distributed,
    found_inf: Tensor | None = None,
) -> None:
    """Move the rows of `weight` (rows, C) that were looked up since the last update, by all ranks.

    Every rank keeps the whole table: the ranks exchange which rows they looked up, and the gradients. Where
    `found_inf`, on the device, is 1, nothing moves.
    """
    seen = [(lookup.rows, lookup.found.grad) for lookup in lookups if lookup.found.grad is not None]
    if not seen:
        return
    rows = dist.concatenate(torch.cat([rows for rows, _ in seen]))  # (N, K)
    gradients = dist.concatenate(torch.cat([gradient for _, gradient in seen if gradient is not None]))
    size = gradients.square().mean().sqrt()
    steps = gradients * (-lr / size.clamp(min=torch.finfo(size.dtype).tiny))  # (N, C)
    if found_inf is not None:  # chosen, not multiplied: NaN times zero is NaN
        steps = steps.masked_fill(found_inf.bool(), 0.0)
    for rows_of_a_table in rows.unbind(1):
        _add_rows(weight, rows_of_a_table.contiguous(), steps)


def _add_rows(weight: Tensor, rows: Tensor, steps: Tensor) -> None:
    """weight[rows[i]] += steps[i], in an order that is the same on every rank and in every run."""
    if weight.device.type == "cpu":
        weight.scatter_add_(0, rows[:, None].expand_as(steps), steps)  # three times as fast as index_put_
    else:
        weight.index_put_((rows,), steps, accumulate=True)  # sorts first; additions by atomics would not
