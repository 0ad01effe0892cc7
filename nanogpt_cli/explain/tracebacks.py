"""Finds Python tracebacks and deaths by signal in a log, also those of several ranks interleaved.

A traceback counts only if it can come from a training: one of its frames or its message names torch, a model
or a training script. So the traceback of any other program does not turn its log into a training log.
"""

import re

from nanogpt_cli.explain.records import Failure

_RANK = re.compile(r"^(?:\[(?:rank)?\d+\]:?\s?)+")
_START = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]*)", line (?P<line>\d+)')
_BASENAME = re.compile(r"^.*[/\\]")
_EXCEPTION = re.compile(
    r"^(?P<name>(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*"
    r"(?:Error|Exception|Interrupt|Exit|Failed|NotImplemented|Warning))(?::\s*(?P<message>.*))?$"
)
_TRAINING = re.compile(r"torch|train|nanogpt|gpt|model\.py|configurator|cuda|prepare", re.IGNORECASE)
_SIGNAL = re.compile(
    r"Signal \d+ \((?P<name>SIG\w+)\) received|DUE TO (?P<limit>TIME LIMIT|PREEMPTION)|"
    r"^slurmstepd: .*(?P<cancel>CANCELLED)|^(?P<bare>Terminated|Killed)\s*$"
)
_MEMORY = re.compile(
    r"(?:CUDA|MPS|HIP|XPU)(?: backend)? out of memory|CUDA error: out of memory|oom-kill"
    r"|DefaultCPUAllocator: (?:can't|not enough memory)",
    re.IGNORECASE,
)
_MESSAGE_CHARS = 400  # torch's messages run to a page; the first lines carry the fact


class TracebackReader:
    """Fed every line; `feed` returns a Failure on the line that completes one."""

    def __init__(self) -> None:
        self._inside = False
        self._relevant = False
        self._location = ""
        self._frame_open = False

    @property
    def inside(self) -> bool:
        """Whether a traceback has begun and its last line has not come yet."""
        return self._inside

    def feed(self, line: str) -> Failure | None:
        """The failure that `line` completes, if any."""
        if signal := _SIGNAL.search(line):
            name = signal["name"] or ("SIGKILL" if signal["bare"] == "Killed" else "SIGTERM")
            return Failure(exception=name, message=line.strip()[:_MESSAGE_CHARS])
        position = line.find(_START)
        if position >= 0:
            self._inside, self._relevant, self._location, self._frame_open = True, False, "", False
            return None
        text = _RANK.sub("", line)
        if self._inside:
            return self._inside_traceback(text)
        if _MEMORY.search(text):
            return Failure(exception="OutOfMemoryError", message=text.strip()[:_MESSAGE_CHARS])
        return None

    def _inside_traceback(self, text: str) -> Failure | None:
        if frame := _FRAME.match(text):
            file = frame["file"]
            self._relevant = self._relevant or bool(_TRAINING.search(file))
            self._location = f"{_BASENAME.sub('', file)}, line {frame['line']}"
            self._frame_open = True
            return None
        if not text or text[0].isspace():
            if self._frame_open and text.strip():
                self._location += f": {text.strip()[:120]}"
            self._frame_open = False
            return None
        found = _EXCEPTION.match(text)
        if found is None:
            return None
        self._inside = False
        message = (found["message"] or "").strip()[:_MESSAGE_CHARS]
        if not (self._relevant or _TRAINING.search(message)):
            return None
        name = found["name"]
        if _MEMORY.search(text):
            name = "OutOfMemoryError"
        return Failure(exception=name, message=message, location=self._location)
