"""A disk that fails under a running trainer: training goes on, and what was saved can be gone on from.

At every operation of every save of a run of four iterations: an error once, from then on for ever, and the
end of the process. Afterwards the newest intact checkpoint ends in the weights of a run without any fault.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogpt_cli.engine import saving
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.trainer import Trainer
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import CheckpointSaved, Warned
from tests.engine.disk_faults import killing, no_space, read_only
from tests.engine.tiny import Recorder, assert_same_tensors, build_trainer, snapshot, tiny_config

CONFIG = tiny_config(max_iters=4, save_interval=2, dropout=0.1, keep_checkpoints=1)


def resumed(folder: Path) -> Trainer:
    """A trainer that begins as the run in `folder` can be gone on with."""
    saved = list_checkpoints(folder)
    return build_trainer(folder, CONFIG, checkpoint=read_checkpoint(saved[-1]) if saved else None)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    trainer = build_trainer(tmp_path_factory.mktemp("undisturbed"), CONFIG)
    trainer.run()
    return snapshot(trainer)


def runs_with_a_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], OSError], *, passing: bool
) -> Iterator[tuple[Path, Trainer, Recorder, bool]]:
    """One run for each operation of its saves: its folder, trainer and events, and whether it ended well."""
    for at in range(1, 500):
        run_dir, recorder = folder / str(at), Recorder()
        trainer = build_trainer(run_dir, CONFIG, reporter=recorder)
        with killing(at, monkeypatch, fault, passing=passing) as disk:
            try:
                trainer.run()
                ended = True
            except NanoGPTError as error:
                refused, ended = error, False
        if not ended:
            assert "iteration 4, the last, was not saved" in refused.message
            assert "train --resume" in refused.hint or not list_checkpoints(run_dir)
        if not disk.dead:
            assert at > 20, "hardly anything was counted: the patches no longer meet the code"
            return
        yield run_dir, trainer, recorder, ended
    pytest.fail("the run never came through")


@pytest.mark.parametrize(
    ("fault", "passing"), [(no_space, True), (read_only, False)], ids=["full-once", "read-only-for-ever"]
)
def test_an_error_at_any_operation(
    fault: Callable[[], OSError],
    passing: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: dict[str, torch.Tensor],
) -> None:
    endings = set()
    for run_dir, trainer, recorder, ended in runs_with_a_fault(tmp_path, monkeypatch, fault, passing=passing):
        endings.add(ended)
        assert_same_tensors(snapshot(trainer), undisturbed)  # it went on to the end, whatever the disk did
        told = [event.message for event in recorder.of(Warned)]
        assert told or not ended
        assert all(os.strerror(fault().errno or 0) in message for message in told)
        for path in (run_dir / "checkpoints").glob("iter_*"):
            read_checkpoint(path)  # raises for one that is not whole
        again = resumed(run_dir)
        again.run()
        assert_same_tensors(snapshot(again), undisturbed)
        assert list_checkpoints(run_dir)[-1].name == "iter_00000004"
        assert not list(run_dir.glob("**/.tmp-*")) or ended
    assert endings == {True, False}  # a failed last save is an error


def test_a_disk_that_has_room_again_is_used_at_the_next_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    trainer = build_trainer(tmp_path, CONFIG, reporter=recorder)
    with killing(1, monkeypatch, no_space, passing=True):
        trainer.run()
    (warning,) = recorder.of(Warned)
    assert "iteration 2 was not saved" in warning.message
    assert "training goes on" in warning.message
    assert [event.iter_num for event in recorder.of(CheckpointSaved)] == [4]


def test_a_failed_save_is_tried_again_before_the_next_regular_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: with a save every 1,000 iterations a moment's full disk cost up to 1,000 iterations of work."""
    recorder, now = Recorder(), [0.0]
    config = tiny_config(max_iters=40, save_interval=25, dropout=0.1)
    trainer = build_trainer(tmp_path / "faulty", config, reporter=recorder)
    trainer.saver.clock = lambda: now[0]
    real_iteration, real_save = trainer.train_iteration, saving.save_checkpoint
    tries: list[int] = []

    def train_iteration(iter_num: int) -> None:
        real_iteration(iter_num)
        now[0] += 24

    def save_checkpoint(*args: Any) -> Path:
        tries.append(args[3].iter_num)
        if len(tries) <= 3:
            raise no_space()
        return real_save(*args)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_iteration", train_iteration)
        patch.setattr(saving, "save_checkpoint", save_checkpoint)
        trainer.run()
    # 30 s are 2 iterations, 60 s are 3, 120 s are 5; then it is saved, and once more at the end.
    assert tries == [25, 27, 30, 35, 40]
    assert [event.iter_num for event in recorder.of(CheckpointSaved)] == [35, 40]
    ends = [event.message.rpartition(", and ")[2] for event in recorder.of(Warned)]
    assert ends == [f"saving is tried again in {seconds} s" for seconds in (30, 60, 120)]
    undisturbed = build_trainer(tmp_path / "undisturbed", config)
    undisturbed.run()
    assert_same_tensors(snapshot(trainer), snapshot(undisturbed))


_ENDED = """
import os, sys
from pathlib import Path
import pytest
from tests.engine.disk_faults import Killed, killing
from tests.engine.tiny import build_trainer
from tests.engine.test_disk_faults import CONFIG
folder = Path(sys.argv[1])

class Gone(Killed):
    def __init__(self):
        os._exit(9)

build_trainer(folder / "0", CONFIG).run()  # what torch loads at its first step is loaded once
for at in range(1, 500):
    child = os.fork()
    if child == 0:
        with killing(at, pytest.MonkeyPatch(), Gone):
            build_trainer(folder / str(at), CONFIG).run()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        print(at)
        sys.exit(0)
    assert code == 9, code
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process for each operation needs fork to be quick")
def test_a_process_that_ends_at_any_operation(tmp_path: Path, undisturbed: dict[str, torch.Tensor]) -> None:
    """Really ended, by os._exit: nothing is cleaned up, no buffer is written."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _ENDED, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    came_through = int(done.stdout)
    assert came_through > 20
    newest = set()
    for at in range(1, came_through):
        saved = list_checkpoints(tmp_path / str(at))
        newest.add(saved[-1].name if saved else None)
        again = resumed(tmp_path / str(at))
        again.run()
        assert_same_tensors(snapshot(again), undisturbed)
    assert newest == {None, "iter_00000002", "iter_00000004"}
