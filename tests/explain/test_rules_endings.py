"""Crashes by their causes, memory, disk, signals: what the log's last lines are told apart by."""

import pytest

from nanogpt_cli.explain.crashes import CAUSES
from nanogpt_cli.explain.diagnose import diagnose
from nanogpt_cli.explain.records import Ending, IterPoint, Run
from tests.explain.rule_logs import MORE
from tests.explain.samples import (
    HEADER,
    codes,
    crash,
    explain_text,
    finding,
    iter_lines,
    metrics,
    parse_text,
    run_log,
)

# (cause, the exception's line, the line of code it came from)
CRASHES = [
    (
        "split_too_short",
        "RuntimeError: random_ expects 'from' to be less than 'to', but got from=0 >= to=-450",
        "",
    ),
    ("split_too_short", "ValueError: low >= high", "ix = np.random.randint(len(data) - block_size, size=4)"),
    ("data_missing", "FileNotFoundError: [Errno 2] No such file or directory: 'data/x/train.bin'", ""),
    (
        "data_empty",
        "ValueError: cannot mmap an empty file",
        "data = np.memmap(path, dtype=np.uint16, mode='r')",
    ),
    (
        "token_type",
        "TypeError: can't convert np.ndarray of type numpy.uint16.",
        "x = torch.from_numpy(data[i])",
    ),
    ("vocab_mismatch", "IndexError: index out of range in self", "return torch.embedding(weight, input)"),
    ("vocab_mismatch", "RuntimeError: CUDA error: device-side assert triggered", ""),
    ("unseen_character", "KeyError: 'é'", "encode = lambda s: [stoi[c] for c in s]"),
    ("encoding", "UnicodeDecodeError: 'charmap' codec can't decode byte 0x9d in position 42", ""),
    ("checkpoint_missing", "FileNotFoundError: [Errno 2] No such file or directory: 'out/ckpt.pt'", ""),
    (
        "checkpoint_damaged",
        "RuntimeError: PytorchStreamReader failed reading zip archive: not a ZIP archive",
        "",
    ),
    ("checkpoint_damaged", "EOFError: Ran out of input", "checkpoint = torch.load(ckpt_path)"),
    ("unpickling", "_pickle.UnpicklingError: Weights only load failed. This file can still be loaded", ""),
    ("compiled_names", "KeyError: '_orig_mod.transformer.wte.weight'", ""),
    ("checkpoint_mismatch", "RuntimeError: Error(s) in loading state_dict for GPT:", ""),
    (
        "checkpoint_mismatch",
        "ValueError: loaded state dict contains a parameter group that doesn't match the size",
        "",
    ),
    ("config_missing", "FileNotFoundError: [Errno 2] No such file or directory: 'config/train_x.py'", ""),
    ("unknown_key", "ValueError: Unknown config key: batchsize", ""),
    ("bad_type", "AssertionError", "assert type(attempt) == type(globals()[key])"),
    ("accumulation", "AssertionError", "assert gradient_accumulation_steps % ddp_world_size == 0"),
    ("heads", "AssertionError", "assert config.n_embd % config.n_head == 0"),
    ("block_size", "AssertionError: Cannot forward sequence of length 300, block size is only 256", ""),
    (
        "warmup_equals_decay",
        "ZeroDivisionError: division by zero",
        "decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)",
    ),
    ("cuda_driver", "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", ""),
    (
        "cuda_driver",
        "RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version",
        "",
    ),
    (
        "gpu_unsupported",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "",
    ),
    (
        "too_many_processes",
        "RuntimeError: CUDA error: invalid device ordinal",
        "torch.cuda.set_device(device)",
    ),
    ("no_gpu", "AssertionError: Torch not compiled with CUDA enabled", ""),
    ("no_gpu", "RuntimeError: Found no NVIDIA driver on your system.", ""),
    ("no_bfloat16", "RuntimeError: Current CUDA Device does not support bfloat16. Please switch dtype", ""),
    ("hardware", "RuntimeError: CUDA error: uncorrectable ECC error encountered", ""),
    ("illegal_access", "RuntimeError: CUDA error: an illegal memory access was encountered", ""),
    (
        "cublas",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "",
    ),
    ("several_devices", "RuntimeError: Expected all tensors to be on the same device, but found two", ""),
    ("mixed_types", "RuntimeError: mat1 and mat2 must have the same dtype, but got Float and BFloat16", ""),
    ("shapes", "RuntimeError: mat1 and mat2 shapes cannot be multiplied (12x384 and 768x65)", ""),
    ("shared_memory", "RuntimeError: DataLoader worker (pid 77) is killed by signal: Bus error.", ""),
    ("port_in_use", "RuntimeError: The server socket has failed to listen: Address already in use", ""),
    (
        "nccl_timeout",
        "torch.distributed.DistBackendError: [Rank 0] Watchdog caught collective operation timeout: WorkNCCL",
        "",
    ),
    (
        "rendezvous",
        "torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 1/2",
        "",
    ),
    (
        "not_torchrun",
        "ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable"
        " RANK expected, but not set",
        "",
    ),
    (
        "nccl",
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970, system error",
        "",
    ),
    ("wandb", "wandb.errors.errors.UsageError: api_key not configured (no-tty)", ""),
    (
        "weights_unknown",
        "OSError: gpt5 is not a local folder and is not a valid model identifier listed on",
        "",
    ),
    ("offline", "OSError: We couldn't connect to 'https://huggingface.co' to load this file", ""),
    ("offline", "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='openaipublic.blob')", ""),
    ("module_missing", "ModuleNotFoundError: No module named 'tiktoken'", "import tiktoken"),
    ("compiler", "RuntimeError: Cannot find a working triton installation. Either the package is not", ""),
    ("compiler", "RuntimeError: Windows not yet supported for torch.compile", "model = torch.compile(model)"),
    (
        "permission",
        "PermissionError: [Errno 13] Permission denied: 'out'",
        "os.makedirs(out_dir, exist_ok=True)",
    ),
]


@pytest.mark.parametrize(("cause", "error", "code"), CRASHES)
def test_causes(cause: str, error: str, code: str) -> None:
    log = parse_text(HEADER + crash(error, code or "main()"))
    found = diagnose(log, log.runs[-1])
    assert [f.message_key for f in found] == [f"crashed.{cause}"]
    assert found[0].numbers["exception"] == error.split(":")[0].rsplit(".", 1)[-1]


def test_every_cause_has_its_exception() -> None:
    assert {cause for cause, _, _ in CRASHES} == set(CAUSES)


def test_an_unknown_exception_is_named() -> None:
    found = finding(HEADER + crash("ArithmeticError: the train of thought was lost"), "crashed")
    assert "ArithmeticError: the train of thought was lost" in found.message
    assert found.confidence < 0.9


def test_the_crash_of_a_long_run_says_where() -> None:
    found = finding(HEADER + iter_lines([10.9, 9.0, 8.0]) + crash("KeyError: 'x'"), "crashed")
    assert found.iters == (20,)


def test_memory_taken_by_others() -> None:
    found = finding(MORE["out_of_memory.shared"], "out_of_memory")
    assert "This program held 9.39 GiB" in found.message
    assert "nvidia-smi" in found.advice


def test_the_logits_that_did_not_fit() -> None:
    found = finding(MORE["out_of_memory.logits"], "out_of_memory")
    assert "32 sequences x 1024 tokens x 50304" in found.message
    assert "batch_size 16 instead of 32" in found.advice
    assert "3.07 GiB" in found.advice


def test_main_memory_is_not_the_gpus() -> None:
    found = finding(MORE["out_of_memory.main_memory"], "out_of_memory")
    assert "not the GPU's" in found.message


def test_a_full_disk_is_no_other_crash() -> None:
    assert codes(MORE["disk_full.checkpoint"])[0] == "disk_full"
    assert "crashed" not in codes(MORE["disk_full.checkpoint"])
    # 123.59M parameters: weights and AdamW's two moments in float32
    assert "1.48 GB" in finding(MORE["disk_full.checkpoint"], "disk_full").message


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("Killed", "Killed"),
        (
            "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2024-01-01 DUE TO TIME LIMIT ***",
            "Stopped from outside",
        ),
        ("  traceback : Signal 11 (SIGSEGV) received by PID 7", "Killed by a fault"),
        ("  traceback : Signal 9 (SIGKILL) received by PID 7", "Killed"),
    ],
)
def test_signals(line: str, title: str) -> None:
    assert finding(HEADER + iter_lines([10.9, 9.0]) + line + "\n", "interrupted").title == title


def test_another_trainers_end_is_believed() -> None:
    points = [IterPoint(i, 3.0 - 0.01 * i) for i in range(100)]
    run = Run(trainer="hf-trainer", nanogpt_habits=False, iters=points, ending=Ending(reason="finished"))
    log = run_log(run)
    assert "finished" in codes(log)
    assert "truncated" not in codes(log)


def test_our_own_words_only_for_our_own_runs() -> None:
    """Whoever trained elsewhere cannot resume with our command, nor was a checkpoint saved for them."""
    theirs = run_log(
        Run(
            trainer="nanochat",
            nanogpt_habits=False,
            iters=[IterPoint(10 * i, 3.0) for i in range(5)],
            ending=Ending(reason="SIGTERM"),
        )
    )
    assert "nothing is lost" not in finding(theirs, "interrupted").message
    assert "nothing is lost" in finding(metrics([3.0] * 5, end="SIGTERM"), "interrupted").message


def test_the_summary_says_how_it_ended() -> None:
    assert "It was killed (SIGKILL)." in explain_text(MORE["interrupted.killed"]).summary
    assert "It ran to its planned end" not in explain_text(MORE["interrupted.killed"]).summary
