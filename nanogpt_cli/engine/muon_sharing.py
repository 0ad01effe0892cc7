"""Muon's orthogonal matrices found by all ranks together: each does its share of a stack, then they exchange.

Matrices come as a stack (n, rows, columns) of one shape. What is computed is the same as on one process, up
to rounding: the products of a batch may be summed in another order when the batch is smaller.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch import Tensor

Orthogonalize = Callable[[Tensor], Tensor]  # (n, rows, columns) → the same shape


def shared(stack: Tensor, orthogonalize: Orthogonalize, rank: int, world_size: int) -> Tensor:
    """For replicated matrices, the same on every rank: (n, rows, columns) → the same shape."""
    each = -(-len(stack) // world_size)  # matrices a rank does; the last ranks may have none
    own = torch.zeros(each, *stack.shape[1:], device=stack.device, dtype=stack.dtype)
    share = stack[rank * each : (rank + 1) * each]
    if len(share):
        own[: len(share)] = orthogonalize(share)
    found = torch.empty(each * world_size, *stack.shape[1:], device=stack.device, dtype=stack.dtype)
    torch.distributed.all_gather_into_tensor(found, own)
    return found[: len(stack)]


def sharded(stack: Tensor, rows: int, orthogonalize: Orthogonalize, mesh: Any) -> Tensor:
    """For matrices whose `rows` are divided among the ranks: (n, own rows, columns) → the same shape.

    Every rank sends its rows of a matrix to the rank that does it, and gets its rows of the result back.
    """
    rank, world_size, group = mesh.get_local_rank(), mesh.size(), mesh.get_group()
    n, own_rows, columns = stack.shape
    piece = -(-rows // world_size)  # as torch.chunk divides: the last ranks have fewer rows, or none
    rows_of = [max(0, min(piece, rows - r * piece)) for r in range(world_size)]
    assert own_rows == rows_of[rank], (own_rows, rows_of)
    each = -(-n // world_size)
    padded = torch.zeros(each * world_size, own_rows, columns, device=stack.device, dtype=stack.dtype)
    padded[:n] = stack

    by_rank = [each * r * columns for r in rows_of]  # elements a rank holds of one share
    alike = [each * own_rows * columns] * world_size
    gathered = torch.empty(sum(by_rank), device=stack.device, dtype=stack.dtype)
    torch.distributed.all_to_all_single(gathered, padded.flatten(), by_rank, alike, group=group)
    pieces = [
        part.view(each, -1, columns) if part.numel() else part.view(each, 0, columns)
        for part in torch.split(gathered, by_rank)
    ]
    whole = torch.cat(pieces, dim=1)  # (each, rows, columns)
    mine = max(0, min(each, n - rank * each))  # the others are padding
    if mine:
        whole[:mine] = orthogonalize(whole[:mine])

    back = torch.cat([part.flatten() for part in torch.split(whole, rows_of, dim=1)])
    returned = torch.empty_like(padded.flatten())
    torch.distributed.all_to_all_single(returned, back, alike, by_rank, group=group)
    return returned.view(each * world_size, own_rows, columns)[:n]
