"""Exceptions and signals, as shells, schedulers, torchrun and notebooks print them."""

import pytest

from tests.explain.samples import iter_lines, parse_text

TRAINED = iter_lines([4.0, 3.0])
FRAME = '  File "/x/train.py", line 9, in <module>\n    main()\n'


def failures(text: str) -> list[str]:
    return [failure.exception for failure in parse_text(text).runs[-1].failures]


@pytest.mark.parametrize(
    ("line", "exception"),
    [
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 6.14 GiB", "OutOfMemoryError"),
        ("torch._dynamo.exc.Unsupported: call_function", "torch._dynamo.exc.Unsupported"),
        ("torch.distributed.DistStoreError: Timed out after 901 seconds", "torch.distributed.DistStoreError"),
        ("_pickle.UnpicklingError: Weights only load failed", "_pickle.UnpicklingError"),
        ("StopIteration", "StopIteration"),
    ],
)
def test_exceptions(line: str, exception: str) -> None:
    assert failures(f"Traceback (most recent call last):\n{FRAME}{line}\n") == [exception]


def test_its_place_is_the_last_frame() -> None:
    failure = parse_text(f"^CTraceback (most recent call last):\n{FRAME}KeyError: 'x'\n").runs[0].failures[0]
    assert (failure.location, failure.message) == ("train.py, line 9: main()", "'x'")


@pytest.mark.parametrize("prefix", ["[rank0]: ", "[rank0]:", "[0]:"])
def test_behind_a_rank(prefix: str) -> None:
    text = "".join(
        f"{prefix}{line}\n" for line in ["Traceback (most recent call last):", *FRAME.splitlines()]
    )
    assert failures(f"{text}{prefix}ValueError: no\n") == ["ValueError"]


@pytest.mark.parametrize(
    ("line", "exception"),
    [
        ("Killed", "SIGKILL"),
        ("zsh: killed     python train.py", "SIGKILL"),
        ("bash: line 1:  4711 Killed                  python train.py", "SIGKILL"),
        ("[1]  + 4711 killed     python train.py", "SIGKILL"),
        ("Terminated", "SIGTERM"),
        ("slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2024-01-01 DUE TO TIME LIMIT ***", "SIGTERM"),
        ("srun: error: node7: task 0: Out Of Memory", "SIGKILL"),
        ("  traceback : Signal 9 (SIGKILL) received by PID 4711", "SIGKILL"),
        ("Segmentation fault (core dumped)", "SIGSEGV"),
        ("./run.sh: line 3:  4711 Aborted (core dumped) python train.py", "SIGABRT"),
        ("RuntimeError: CUDA error: out of memory", "OutOfMemoryError"),
    ],
)
def test_ended_from_outside(line: str, exception: str) -> None:
    assert failures(TRAINED + line + "\n") == [exception]


@pytest.mark.parametrize(
    "line", ["the process was killed in a game", "Terminated employees", "Signal processing", "memory: 3 GiB"]
)
def test_words_that_are_no_signal(line: str) -> None:
    assert failures(TRAINED + line + "\n") == []


IPYTHON = """\
---------------------------------------------------------------------------
RuntimeError                              Traceback (most recent call last)
Cell In[5], line 3
      1 def step():
----> 3     loss.backward()

File ~/lib/python3.10/site-packages/torch/_tensor.py:521, in Tensor.backward(self)
    520 )
--> 521 torch.autograd.backward(

RuntimeError: element 0 of tensors does not require grad
"""


def test_ipython() -> None:
    failure = parse_text(TRAINED + IPYTHON).runs[0].failures[0]
    assert (failure.exception, failure.location) == ("RuntimeError", "_tensor.py, line 521")


def test_another_programs_traceback_counts_only_within_a_training() -> None:
    other = 'Traceback (most recent call last):\n  File "/x/shop.py", line 1, in f\n    x\nKeyError: 1\n'
    assert failures(other) == []
    assert failures(TRAINED + other) == ["KeyError"]


def test_chained_exceptions_are_both_kept() -> None:
    first = f"Traceback (most recent call last):\n{FRAME}KeyError: 'x'\n"
    text = first + "\nDuring handling of the above exception, another exception occurred:\n\n"
    assert failures(text + first.replace("KeyError", "ValueError")) == ["KeyError", "ValueError"]


def test_a_survived_failure_is_forgotten() -> None:
    assert failures(f"Traceback (most recent call last):\n{FRAME}KeyError: 'x'\n" + TRAINED) == []
