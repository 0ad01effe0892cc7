"""Many small runs by few processes: a rank that starts once does its part of one run after the other.

`python -m tests.distributed.ranks jobs.json` is started once per rank, with RANK in the environment, which
`run_jobs` does. A job of `world_size` processes is done by the first ranks, one of one process by the last.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.helpers import ROOT, run_cli

RANKS = 4
_PATIENCE_SECONDS = 120.0


def job(out: str, world_size: int, *arguments: str, after: str = "") -> dict[str, Any]:
    """`nanogpt ARGUMENTS --out_dir=OUT` by `world_size` processes, on a copy of the run `after` if given."""
    return {"out": out, "world_size": world_size, "arguments": arguments, "after": after}


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses, one for each job."""
    probes = [socket.socket() for _ in range(count)]  # all open at once, so that they differ
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def run_jobs(
    folder: Path, jobs: list[dict[str, Any]], ports: list[int], *, patience_seconds: float = 200.0
) -> dict[str, str]:
    """Run them all in `folder`; what rank 0 said in each, by `out`. Fails on the first that fails."""
    planned = [{**entry, "port": port} for entry, port in zip(jobs, ports, strict=True)]
    (folder / "jobs.json").write_text(json.dumps(planned), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.distributed.ranks", "jobs.json"],
            cwd=folder,
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        for rank in range(RANKS)
    ]
    try:
        said = [process.communicate(timeout=patience_seconds)[0] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    assert [process.returncode for process in ranks] == [0] * RANKS, "\n".join(said)
    return {entry["out"]: (folder / f"{entry['out']}.txt").read_text(encoding="utf-8") for entry in jobs}


def _main(path: str, rank: int) -> None:
    for entry in json.loads(Path(path).read_text(encoding="utf-8")):
        world_size, out = entry["world_size"], entry["out"]
        first = RANKS - 1 if world_size == 1 else 0
        if not first <= rank < first + world_size:
            continue
        if entry["after"]:
            _copy_when_done(entry["after"], out, copies=rank == first)
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)
        if world_size > 1:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(entry["port"]))
        result = run_cli(*entry["arguments"], f"--out_dir={out}")
        if rank == first:
            Path(f"{out}.txt").write_text(result.err, encoding="utf-8")
            Path(f"{out}.done").touch()
        if result.code != 0:
            sys.exit(f"rank {rank} of {out} ended with {result.code}: {result.err}")


def _copy_when_done(source: str, target: str, *, copies: bool) -> None:
    """Wait for the run `source`, and for its copy, which one rank makes under another name first."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    wanted = Path(f"{source}.done") if copies else Path(target)
    while not wanted.exists():
        assert time.monotonic() < deadline, f"{wanted} never came"
        time.sleep(0.02)
    if copies:
        shutil.copytree(source, f"{target}.copying")
        with contextlib.suppress(FileExistsError):
            Path(f"{target}.copying").rename(target)


if __name__ == "__main__":
    _main(sys.argv[1], int(os.environ["RANK"]))
