"""Which exception usually means what: patterns to the catalogue's `crashed.<cause>` messages.

The first pattern that fits wins, so the particular ones stand before the general ones. They are searched in
"exception: message | file, line: code".
"""

import re
from typing import Final

from nanogpt_cli.explain.records import Failure

_CAUSES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (cause, re.compile(pattern, re.IGNORECASE))
    for cause, pattern in (
        # the data
        ("split_too_short", r"random_ expects 'from' to be less than 'to'|high <= 0|low >= high"),
        ("data_missing", r"FileNotFoundError.*(?:train\.bin|val\.bin|meta\.pkl|input\.txt|data[/\\])"),
        ("data_empty", r"cannot mmap an empty file"),
        ("token_type", r"np\.ndarray of type numpy\.uint16|Unsupported type.*uint16"),
        ("vocab_mismatch", r"index out of range in self|device-side assert|Target \d+ is out of bounds"),
        ("unseen_character", r"KeyError.*\bstoi\["),
        ("encoding", r"UnicodeDecodeError|codec can't decode"),
        # checkpoints
        ("checkpoint_missing", r"FileNotFoundError.*(?:ckpt|checkpoint|\.pth?\b)"),
        (
            "checkpoint_damaged",
            r"PytorchStreamReader failed|failed finding central directory|invalid magic number"
            r"|EOFError: Ran out of input|unexpected EOF",
        ),
        ("unpickling", r"UnpicklingError|weights_only|Weights only load failed"),
        ("compiled_names", r"KeyError.*_orig_mod\."),
        (
            "checkpoint_mismatch",
            r"loading state_dict|size mismatch for|(?:Missing|Unexpected) key\(s\) in state_dict"
            r"|loaded state dict (?:contains|has)",
        ),
        # settings
        ("config_missing", r"FileNotFoundError.*(?:config|\.py\b)"),
        ("unknown_key", r"Unknown config key"),
        ("bad_type", r"configurator\.py|AssertionError.*(?:type\(attempt\)|\| <string>, line)"),
        ("accumulation", r"gradient_accumulation_steps % ddp_world_size"),
        ("heads", r"n_embd % (?:config\.)?n_head|must be divisible by (?:n_?head|num_heads)"),
        ("block_size", r"cannot forward sequence of length|block_size <= self\.config\.block_size"),
        (
            "warmup_equals_decay",
            r"ZeroDivisionError.*(?:decay|warmup|get_lr)|get_lr.*ZeroDivision|assert 0 <= decay",
        ),
        # the device
        (
            "cuda_driver",
            r"driver version is insufficient|NVIDIA driver on your system is too old|CUDA unknown error"
            r"|forward compatibility was attempted|Driver/library version mismatch",
        ),
        ("gpu_unsupported", r"no kernel image is available|is not compatible with the current PyTorch"),
        ("too_many_processes", r"invalid device ordinal|Duplicate GPU detected"),
        (
            "no_gpu",
            r"not compiled with CUDA|No CUDA GPUs|Found no NVIDIA driver|no NVIDIA GPU"
            r"|torch\.cuda\.is_available\(\) is False|ProcessGroupNCCL.*no GPUs",
        ),
        (
            "no_bfloat16",
            r"does not support bfloat16|bf(?:loat)?16.*(?:not|n't) support|unsupported.*BFloat16",
        ),
        ("hardware", r"uncorrectable (?:ECC|NVLink)|fallen off the bus|unspecified launch failure"),
        ("illegal_access", r"illegal memory access|misaligned address"),
        ("cublas", r"CUBLAS_STATUS|CUDNN_STATUS|cuBLAS error"),
        ("several_devices", r"Expected all tensors to be on the same device"),
        ("mixed_types", r"must have the same dtype|expected scalar type \w+ but found"),
        (
            "shapes",
            r"shapes cannot be multiplied|size of tensor a \(\d+\) must match|shape '.*' is invalid for",
        ),
        (
            "shared_memory",
            r"DataLoader worker.*(?:killed|exited)|insufficient shared memory|shared memory.*shm",
        ),
        # several processes
        ("port_in_use", r"address already in use|EADDRINUSE"),
        ("nccl_timeout", r"collective operation timeout|watchdog.*time(?:d )?out|NCCL.*timed out"),
        ("rendezvous", r"RendezvousTimeout|DistStoreError|waiting for clients|connect\(\) timed out"),
        ("not_torchrun", r"environment variable (?:RANK|WORLD_SIZE|LOCAL_RANK) expected|KeyError: '?RANK"),
        ("nccl", r"NCCL|DistBackendError"),
        # what has to be there
        ("wandb", r"wandb\.(?:errors|sdk)|api_key not configured|wandb.*UsageError"),
        (
            "weights_unknown",
            r"GatedRepo|RepositoryNotFound|not a valid model identifier|401 Client Error|403 Client Error",
        ),
        (
            "offline",
            r"couldn't connect to|ConnectionError|MaxRetryError|Name or service not known|getaddrinfo"
            r"|LocalEntryNotFound|Temporary failure in name resolution|Network is unreachable",
        ),
        ("module_missing", r"ModuleNotFoundError|No module named"),
        (
            "compiler",
            r"triton|inductor|BackendCompilerFailed|torch\.compile|dynamo is not supported"
            r"|not yet supported for torch\.compile|Compiler: cl is not found|InvalidCxxCompiler",
        ),
        ("permission", r"PermissionError|Permission denied|Read-only file system"),
    )
)
_DISK_FULL: Final = re.compile(
    r"No space left on device|Disk quota exceeded|PytorchStreamWriter failed|unexpected pos \d", re.IGNORECASE
)


def cause_of(failure: Failure) -> str:
    """The cause's name in the catalogue; empty when the exception is not a known one."""
    text = _text(failure)
    return next((cause for cause, pattern in _CAUSES if pattern.search(text)), "")


def is_disk_full(failure: Failure) -> bool:
    """Whether writing failed for want of space."""
    return bool(_DISK_FULL.search(_text(failure)))


def _text(failure: Failure) -> str:
    return f"{failure.exception}: {failure.message} | {failure.location}"


CAUSES: Final = tuple(cause for cause, _ in _CAUSES)
