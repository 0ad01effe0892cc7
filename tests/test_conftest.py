"""The isolation itself: a test that would reach the network or the caller's home fails."""

import os
import socket
from pathlib import Path

import pytest


def test_a_remote_connection_is_refused() -> None:
    with socket.socket() as connection, pytest.raises(pytest.fail.Exception, match="no network"):
        connection.connect(("192.0.2.1", 80))  # TEST-NET-1, RFC 5737: nobody answers there


def test_a_remote_name_is_refused_before_it_is_looked_up() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"example\.invalid"):
        socket.create_connection(("example.invalid", 80))


def test_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_the_working_folder_is_empty_and_home_is_not_the_callers(tmp_path: Path) -> None:
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []
    assert list(Path.home().iterdir()) == []


def test_no_setting_of_the_caller_is_left() -> None:
    foreign = {name for name in os.environ if name.startswith("NANOGPT_")}
    assert foreign == {"NANOGPT_CACHE_DIR", "NANOGPT_LANG"}  # ours: a cache and a language of the tests
