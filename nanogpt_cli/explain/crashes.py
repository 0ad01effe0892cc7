"""Which exception usually means what: patterns to the catalogue's `crashed.<cause>` messages.

The first pattern that fits wins, so the particular ones stand before the general ones.
"""

import re
from typing import Final

from nanogpt_cli.explain.records import Failure

_CAUSES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (cause, re.compile(pattern, re.IGNORECASE))
    for cause, pattern in (
        ("split_too_short", r"random_ expects 'from' to be less than 'to'"),
        ("data_missing", r"FileNotFoundError.*(?:train\.bin|val\.bin|meta\.pkl|input\.txt|data[/\\])"),
        ("checkpoint_missing", r"FileNotFoundError.*ckpt\.pt"),
        ("config_missing", r"FileNotFoundError.*(?:config|\.py)"),
        ("unknown_key", r"Unknown config key"),
        ("bad_type", r"configurator\.py|AssertionError.*type\(attempt\)"),
        ("accumulation", r"gradient_accumulation_steps % ddp_world_size"),
        ("heads", r"n_embd % (?:config\.)?n_head|must be divisible by n_?head"),
        ("block_size", r"cannot forward sequence of length"),
        ("vocab_mismatch", r"index out of range in self|device-side assert|Target \d+ is out of bounds"),
        ("no_gpu", r"not compiled with CUDA|No CUDA GPUs|Found no NVIDIA driver|no NVIDIA GPU"),
        ("no_bfloat16", r"does not support bfloat16"),
        (
            "warmup_equals_decay",
            r"ZeroDivisionError.*(?:decay|warmup)|get_lr.*ZeroDivision|assert 0 <= decay",
        ),
        ("compiled_names", r"KeyError.*_orig_mod\."),
        ("checkpoint_mismatch", r"loading state_dict|size mismatch for|Missing key\(s\) in state_dict"),
        ("unpickling", r"UnpicklingError|weights_only"),
        ("disk_full", r"No space left on device|PytorchStreamWriter failed|unexpected pos"),
        (
            "offline",
            r"couldn't connect to|ConnectionError|MaxRetryError|Name or service not known|getaddrinfo",
        ),
        ("compiler", r"triton|inductor|BackendCompilerFailed|torch\.compile|dynamo is not supported"),
        ("port_in_use", r"address already in use|EADDRINUSE"),
        ("nccl", r"NCCL|DistBackendError"),
        ("module_missing", r"ModuleNotFoundError|No module named"),
    )
)


def cause_of(failure: Failure) -> str:
    """The cause's name in the catalogue; empty when the exception is not a known one."""
    text = f"{failure.exception}: {failure.message} | {failure.location}"
    return next((cause for cause, pattern in _CAUSES if pattern.search(text)), "")


CAUSES: Final = tuple(cause for cause, _ in _CAUSES)
