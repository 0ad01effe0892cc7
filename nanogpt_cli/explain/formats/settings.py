"""The settings a log prints: nanoGPT's configurator echoes them, forks print a dict or assignments.

Overriding config with config/train_shakespeare_char.py:
Overriding: batch_size = 12
{'batch_size': 12, 'n_layer': 4}        Namespace(batch_size=12, n_layer=4)        batch_size: 12
"""

import re
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.nanogpt_settings import KNOWN, literal
from nanogpt_cli.explain.records import Run


def is_quoted(line: str, at: int) -> bool:
    """Whether it stands in a program's source, as in `print("compiling the model...`."""
    return "print" in line[:at]


class ConfigReader:
    """What nanoGPT's configurator echoes, and configurations that forks print as a dict or as assignments."""

    _OVERRIDE: Final = re.compile(r"Overriding: (\w{1,40}) = (.{0,200})$")
    _ASSIGNMENT: Final = re.compile(
        r"^\s{0,40}'?(\w{1,40})'?\s{0,20}[=:]\s{0,9}([^#\s][^#]{0,200}?)\s{0,9},?\s{0,9}(?:#.*)?$"
    )
    _DICT: Final = re.compile(r"Namespace\(|^\W{0,3}\{|[=:]\s?\{['\"]|^\s{0,20}['\"]\w{1,40}['\"]\s?:")
    _PAIR: Final = re.compile(
        rf"(?<!\w)['\"]?({'|'.join(sorted(KNOWN))})['\"]?\s?[:=]\s?('[^']{{0,99}}'|\"[^\"]{{0,99}}\"|[-+\w.]{{1,40}})"
    )

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self._in_echo = False  # between "Overriding config with" and the next line that is known
        self._in_source = False  # modded-nanogpt's logs begin with the program's source

    def end(self) -> None:
        """A line of another kind was read."""
        self._in_echo = self._in_source = False

    def feed(self, line: str) -> bool:
        """Take one line; False if it gives no setting."""
        if "Overriding" in line:
            if found := self._OVERRIDE.search(line):
                _set(self._assembler.header("nanogpt"), found[1], found[2])
                return True
            if "Overriding config with " in line and not is_quoted(line, line.find("Overriding")):
                self._assembler.header("nanogpt")
                self._in_echo = True
                return True
        if line.startswith(("import ", "from ")):
            self._in_source = True
        if self._in_source or ("=" not in line and ":" not in line):
            return self._in_echo and line.lstrip().startswith("#")
        # litgpt's EvalArgs(max_iters=…) counts batches of an evaluation.
        if "loss" not in line and "EvalArgs(" not in line and self._DICT.search(line):
            pairs = self._PAIR.findall(line[:20_000])
            for name, value in pairs:
                _set(self._assembler.current, name, value)
            return bool(pairs)
        found = self._ASSIGNMENT.match(line)
        if found is None or not (found[1] in KNOWN or self._in_echo):
            return self._in_echo and line.lstrip().startswith("#")
        _set(self._assembler.current, found[1], found[2])
        return True


def _set(run: Run, name: str, text: str) -> None:
    if name in KNOWN and (value := literal(text)) is not None:
        run.config[name] = value
