"""Read a pickle without Python's pickle machine: dicts, lists, texts and numbers, and nothing else.

A pickle is a program, whose instructions https://docs.python.org/3/library/pickletools.html lists. Python's
own reader runs all of it: it imports and calls what the file names, and even with every import refused it can
be made to allocate gigabytes (by storing under a huge number) or to crash (tuples in tuples in tuples as a
key). This one knows only the instructions that build plain values, and is bounded in everything it builds.
"""

import pickletools
import re
from collections.abc import Callable
from typing import Final

MAX_OPCODES: Final = 8_000_000  # a vocabulary of all 1,114,112 code points has 5 each
MAX_CONTAINERS: Final = 100_000
_MAX_KEY: Final = 1 << 60  # larger numbers can be chosen to collide, and a dict of them takes hours


class NotPlainError(ValueError):
    """What is in a pickle that is not allowed there, or how it is damaged."""


def read_plain_pickle(raw: bytes) -> object:
    """The value in a pickle of dict, list, tuple, str, int, float, bool and None; nothing is executed.

    Raises NotPlainError for anything else.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
            if count >= MAX_OPCODES:
                raise NotPlainError(f"it has more than {MAX_OPCODES:,} instructions")
            machine.run(opcode.name, argument)
        return machine.result()
    except NotPlainError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything in genops and below
        raise NotPlainError(f"it is damaged ({type(error).__name__})") from None


class _Machine:
    """The stack and the memo that a pickle works on; `_marks` are places in the stack."""

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._containers = 0

    def run(self, name: str, argument: object) -> None:
        """One instruction."""
        if name in _VALUES:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _STORES:
            self._memo[argument if isinstance(argument, int) else len(self._memo)] = self._stack[-1]
        elif name in _LOADS:
            assert isinstance(argument, int)
            self._stack.append(self._memo[argument])
        elif name in _BUILDERS:
            _BUILDERS[name](self)
        elif name not in _IGNORED:
            raise self._refusal(name, argument)

    def result(self) -> object:
        """The one value that is left."""
        (value,) = self._stack
        return value

    def _refusal(self, name: str, argument: object) -> NotPlainError:
        wanted = str(argument).split(" ") if name in {"GLOBAL", "INST"} else self._stack[-2:]
        if name not in {"GLOBAL", "INST", "STACK_GLOBAL"}:
            return NotPlainError(f"it has the instruction {name}, and only dict, str and int are allowed")
        # The names are a stranger's: no line break or terminal control gets through.
        shown = re.sub(r"[^\w.]", "?", ".".join(map(str, wanted)))[:60]
        return NotPlainError(f"it wants to load {shown}, and only dict, str and int are allowed")

    # --- Instructions that build

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[object]:
        place = self._marks.pop()
        items = self._stack[place:]
        del self._stack[place:]
        return items

    def new(self, container: object) -> None:
        self._containers += 1
        if self._containers > MAX_CONTAINERS:
            raise NotPlainError(f"it has more than {MAX_CONTAINERS:,} dicts and lists")
        self._stack.append(container)

    def set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise NotPlainError("it is damaged: it sets an item of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str) and not (isinstance(key, int) and abs(key) < _MAX_KEY):
                raise NotPlainError("a dict has a key that is neither str nor int")
            target[key] = value

    def append(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise NotPlainError("it is damaged: it appends to something that is no list")
        target.extend(items)

    def pop(self, count: int) -> list[object]:
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def new_dict(self, items: list[object]) -> None:
        self.new({})
        self.set_items(items)


_INTS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_TEXTS = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_VALUES: Final = _INTS | _TEXTS | {"FLOAT", "BINFLOAT"}
_CONSTANTS: Final[dict[str, object]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_STORES: Final = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_LOADS: Final = {"GET", "BINGET", "LONG_BINGET"}
_IGNORED: Final = {"PROTO", "FRAME", "STOP"}
_BUILDERS: Final[dict[str, Callable[[_Machine], None]]] = {
    "MARK": _Machine.mark,
    "EMPTY_DICT": lambda machine: machine.new({}),
    "EMPTY_LIST": lambda machine: machine.new([]),
    "EMPTY_TUPLE": lambda machine: machine.new(()),
    "DICT": lambda machine: machine.new_dict(machine.since_mark()),
    "LIST": lambda machine: machine.new(machine.since_mark()),
    "TUPLE": lambda machine: machine.new(tuple(machine.since_mark())),
    "TUPLE1": lambda machine: machine.new(tuple(machine.pop(1))),
    "TUPLE2": lambda machine: machine.new(tuple(machine.pop(2))),
    "TUPLE3": lambda machine: machine.new(tuple(machine.pop(3))),
    "SETITEM": lambda machine: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine: machine.set_items(machine.since_mark()),
    "APPEND": lambda machine: machine.append(machine.pop(1)),
    "APPENDS": lambda machine: machine.append(machine.since_mark()),
}
