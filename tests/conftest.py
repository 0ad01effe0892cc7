"""What every test gets: an empty working folder, a home of its own, no network, no settings of the caller.

A test that wants colour, another width or a variable sets it itself with monkeypatch.
"""

import ipaddress
import os
import random
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# `default` draws the same examples every time, so a red test stays red; HYPOTHESIS_PROFILE=thorough explores.
settings.register_profile("default", derandomize=True, deadline=None, database=None, max_examples=100)
settings.register_profile("thorough", deadline=None, database=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# What torchrun, SLURM and the terminal leave in an environment and the commands read.
_DISTRIBUTED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK", "ROLE_RANK")
_FOREIGN_PREFIXES = ("NANOGPT_", "LOCAL_", "TORCHELASTIC_", "SLURM_")
_TERMINAL = ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


@pytest.fixture(autouse=True)
def isolation(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty current folder (tmp_path), empty home and caches beside it, English, 80 columns, no colour."""
    for name in list(os.environ):
        if name in _DISTRIBUTED + _TERMINAL or name.startswith(_FOREIGN_PREFIXES):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name, value in {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "NANOGPT_CACHE_DIR": str(home / "nanogpt"),
        "TIKTOKEN_CACHE_DIR": str(home / "tiktoken"),
        "NANOGPT_LANG": "en",
        "NO_COLOR": "1",
        "TERM": "xterm-256color",
        "COLUMNS": "80",
        "LINES": "25",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The same random numbers in every test, whichever ran before it."""
    random.seed(1337)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(1337)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(1337)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine: a test that needs one is a test that will fail."""
    real_connect = socket.socket.connect
    real_connect_ex = socket.socket.connect_ex
    real_getaddrinfo = socket.getaddrinfo

    def connect(self: socket.socket, address: object) -> None:
        _refuse_remote(address)
        real_connect(self, address)  # type: ignore[arg-type]

    def connect_ex(self: socket.socket, address: object) -> int:
        _refuse_remote(address)
        return real_connect_ex(self, address)  # type: ignore[arg-type]

    def getaddrinfo(host: object, *args: object, **options: object) -> object:
        _refuse_remote((host,))
        return real_getaddrinfo(host, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def _refuse_remote(address: object) -> None:
    if not isinstance(address, tuple):
        return  # a Unix socket's path
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    if host in {None, "", "localhost", socket.gethostname()}:
        return
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False  # a name: resolving it would already use the network
    if not local:
        pytest.fail(f"a test tried to reach {host}: tests use no network", pytrace=True)
