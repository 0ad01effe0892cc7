"""Pickles without trust: plain values as Python's own reader gives them, and nothing hostile ever acts.

Each bait is shown to bite: Python's reader does run it.
"""

import contextlib
import copyreg
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt_cli.data import plain_pickle
from nanogpt_cli.data.plain_pickle import NotPlainError, read_plain_pickle

BAIT = "executed"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.booleans() | st.none()
PLAIN = st.recursive(
    NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.integers(-5, 2**40) | TEXTS, inner)
    ),
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@settings(max_examples=25)
@given(value=PLAIN)
def test_plain_values_of_every_protocol(protocol: int, value: object) -> None:
    found = read_plain_pickle(pickle.dumps(value, protocol=protocol))
    assert found == value
    assert repr(found) == repr(value)  # True is not 1, and 1.0 is not 1


def test_what_occurs_twice() -> None:
    shared = ["中"]
    found: Any = read_plain_pickle(pickle.dumps({"a": shared, "b": shared}))
    assert found["a"] is found["b"]


# --- Nothing is executed


class Calls:
    """A pickle that calls `function(argument)` when Python reads it."""

    def __init__(self, function: object, argument: object) -> None:
        self.call = function, (argument,)

    def __reduce__(self) -> tuple[object, tuple[object]]:
        return self.call


class Registered:
    """What an extension code of the copyreg registry stands for."""

    def __setstate__(self, state: object) -> None:
        Path(BAIT).touch()


class WithState:
    """A class whose state is set by the BUILD instruction."""

    def __init__(self) -> None:
        self.state = 1

    def __setstate__(self, state: object) -> None:
        Path(BAIT).touch()


def _bait_inst() -> bytes:
    return f"(S'{BAIT}'\nios\nmkdir\n.".encode()


def _bait_obj() -> bytes:
    return f"(cos\nmkdir\nS'{BAIT}'\no.".encode()


BAITS = {
    "os.system": lambda protocol: pickle.dumps(
        Calls(os.system, f'"{sys.executable}" -c "" && mkdir {BAIT}'), protocol
    ),
    "builtins.eval": lambda protocol: pickle.dumps(Calls(eval, f"open({BAIT!r}, 'w').close()"), protocol),
    "builtins.exec": lambda protocol: pickle.dumps(Calls(exec, f"open({BAIT!r}, 'w').close()"), protocol),
    "os.mkdir as a key": lambda protocol: pickle.dumps({"a": [(Calls(os.mkdir, BAIT),)]}, protocol),
    "BUILD": lambda protocol: pickle.dumps(WithState(), protocol),
    "INST": lambda protocol: _bait_inst(),
    "OBJ": lambda protocol: _bait_obj(),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("bait", BAITS)
def test_hostile_pickles_do_nothing(bait: str, protocol: int) -> None:
    raw = BAITS[bait](protocol)
    with pytest.raises(NotPlainError, match="only dict, str and int are allowed"):
        read_plain_pickle(raw)
    assert not Path(BAIT).exists()
    pickle.loads(raw)
    assert Path(BAIT).exists()


def test_a_registered_extension_is_not_looked_up() -> None:
    copyreg.add_extension(__name__, "Registered", 240)
    try:
        raw = pickle.dumps(Registered, protocol=2)
        assert b"\x82\xf0" in raw  # EXT1 240
        assert pickle.loads(raw) is Registered
        with pytest.raises(NotPlainError, match="the instruction EXT1"):
            read_plain_pickle(raw)
    finally:
        copyreg.remove_extension(__name__, "Registered", 240)


@pytest.mark.parametrize("raw", [b"Pidentity\n.", b"\x80\x02X\x01\x00\x00\x00aQ."])
def test_persistent_ids_are_refused(raw: bytes) -> None:
    with pytest.raises(NotPlainError, match=r"the instruction (BIN)?PERSID"):
        read_plain_pickle(raw)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"vocab_size": np.int64(5)}, "it wants to load numpy"),
        ({1, 2}, "EMPTY_SET"),
        (b"bytes", "SHORT_BINBYTES"),
        (bytearray(b"b"), "it wants to load builtins.bytearray|BYTEARRAY8"),
        (print, "it wants to load builtins.print"),
        ({(1, 2): 3}, "a key that is neither str nor int"),
        ({1.5: 3}, "a key that is neither str nor int"),
    ],
)
def test_what_is_not_plain(value: object, message: str) -> None:
    with pytest.raises(NotPlainError, match=message):
        read_plain_pickle(pickle.dumps(value))


def test_names_in_a_message_cannot_write_to_the_terminal() -> None:
    with pytest.raises(NotPlainError) as caught:
        read_plain_pickle(b"cos\x1b[2J\rx\nsystem\n.")
    assert str(caught.value).startswith("it wants to load os??2J?x.system")
    with pytest.raises(NotPlainError) as caught:
        read_plain_pickle(b"c" + b"a" * 10_000 + b"\nb\n.")
    assert len(str(caught.value)) < 150


# --- Nothing grows without bound


def test_a_huge_memo_index_allocates_nothing() -> None:
    """Python's own reader sets up a table of 2 · index places, 32 GB here."""
    assert read_plain_pickle(b"Nr" + struct.pack("<I", 2**31 - 1) + b".") is None


@pytest.mark.parametrize(
    "text", [b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 7 + b"\x7f", b"\x8b\xff\xff\xff\x7f"]
)
def test_sizes_larger_than_the_file(text: bytes) -> None:
    with pytest.raises(NotPlainError, match="is damaged"):
        read_plain_pickle(text + b"abc.")


def test_too_many_instructions_and_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_pickle, "MAX_OPCODES", 1000)
    read_plain_pickle(b"(" + b"N" * 997 + b"t.")
    with pytest.raises(NotPlainError, match="more than 1,000 instructions"):
        read_plain_pickle(b"(" + b"N" * 999 + b"t.")
    monkeypatch.setattr(plain_pickle, "MAX_CONTAINERS", 100)
    with pytest.raises(NotPlainError, match="more than 100 dicts and lists"):
        read_plain_pickle(b"}" * 101 + b".")


def test_numbers_chosen_to_collide_are_no_keys() -> None:
    """A dict of a million multiples of 2⁶¹ - 1, which all have hash 0, takes hours to fill."""
    with pytest.raises(NotPlainError, match="a key that is neither"):
        read_plain_pickle(pickle.dumps({2**61 - 1: 0}))


def test_deep_nesting_is_read_and_freed() -> None:
    """As a process of its own: what goes wrong here does not raise, it crashes."""
    code = (
        "from nanogpt_cli.data.plain_pickle import NotPlainError, read_plain_pickle\n"
        "n = 99_000\n"
        "read_plain_pickle(b'N' + b'\\x85' * n + b'.')\n"
        "read_plain_pickle(b']' * n + b'a' * (n - 1) + b'.')\n"
        "try:\n"
        "    read_plain_pickle(b'}N' + b'\\x85' * n + b'Ns.')\n"
        "except NotPlainError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "a dict has a key that is neither str nor int\n"


def _read_or_refuse(raw: bytes) -> None:
    """No other exception, and never a crash."""
    with contextlib.suppress(NotPlainError):
        read_plain_pickle(raw)


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_the_error(raw: bytes) -> None:
    _read_or_refuse(raw)


@given(PLAIN, st.integers(0, 10**6), st.integers(0, 255))
def test_any_damage_gives_a_value_or_the_error(value: object, place: int, byte: int) -> None:
    raw = bytearray(pickle.dumps(value))
    raw[place % len(raw)] = byte
    _read_or_refuse(bytes(raw))


@pytest.mark.parametrize(
    "raw", [b"", b"hello", b".", b"N", b"NN.", b"(.", b"t.", b"s.", b"a.", b"h\x05.", b"q\x00."]
)
def test_damaged_pickles(raw: bytes) -> None:
    with pytest.raises(NotPlainError):
        read_plain_pickle(raw)
