"""Verdicts that come late, of two processes: both hear the same at the same iteration."""

import os
import subprocess
import sys

import pytest

from tests.distributed.ranks import free_ports
from tests.helpers import ROOT

# Rank 1's loss is NaN in iteration 1; rank 0 is asked to stop in iteration 2. The optimizer's flag, and then
# what has been heard by the end of each iteration.
RANK = """
import math, sys, torch
from nanogpt_cli.engine.distributed import from_environment, process_group
from nanogpt_cli.engine.guard import Guard
dist, cpu = from_environment(), torch.device("cpu")
with process_group(dist, "gloo", cpu):
    guard = Guard(device=cpu, dist=dist, late=2, once=False)
    for iter_num in range(5):
        bad, stop = dist.rank == 1 and iter_num == 1, dist.rank == 0 and iter_num == 2
        loss = torch.tensor(math.nan if bad else 1.0)
        found = guard.ask(iter_num, 0, loss, torch.tensor(1.0), stop=stop)
        heard = [(v.iter_num, v.finite, v.stop) for v in guard.verdicts(all_of_them=False)]
        print(float(found), *heard)
"""


@pytest.mark.distributed
def test_one_ranks_trouble_is_all_ranks_verdict() -> None:
    (port,) = free_ports(1)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "PYTHONPATH": str(ROOT)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=100)[0].splitlines() for process in ranks]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    assert said[0] == said[1]
    assert said[0] == ["0.0", "1.0", "0.0 (0, True, False)", "0.0 (1, False, False)", "0.0 (2, True, True)"]
