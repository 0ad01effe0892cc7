"""Finds Python tracebacks and deaths by signal in a log, also those of several ranks interleaved.

A traceback counts only if it can come from a training: one of its frames or its message names torch, a model
or a training script, or a training stands in the log before it. So the traceback of any other program does
not turn its log into a training log. IPython's tracebacks are read as well.
"""

import re
from typing import Final

from nanogpt_cli.explain.records import Failure

_RANK: Final = re.compile(r"^(?:\[(?:rank|default)?\d{1,5}\]:?\s?){1,4}")
_START: Final = "Traceback (most recent call last)"  # IPython leaves the colon out
_FRAME: Final = re.compile(
    r'^\s{1,40}File "(?P<file>[^"]{0,500})", line (?P<line>\d{1,9})'
    r"|^File (?P<ipython>\S.{0,499}?):(?P<at>\d{1,9}), in |^Cell In ?\[\d{1,9}\], line (?P<cell>\d{1,9})"
)
_BASENAME: Final = re.compile(r"^.*[/\\]")
_EXCEPTION: Final = re.compile(
    r"^(?P<name>(?:[A-Za-z_]\w{0,60}\.){0,9}[A-Za-z_]\w{0,80})(?::\s{0,9}(?P<message>.*))?$"
)
_LIKE_AN_EXCEPTION: Final = re.compile(
    r"(?:Error|Exception|Interrupt|Exit|Failed|NotImplemented|Warning|Unsupported|Timeout|BadZipFile)$"
)
_TRAINING: Final = re.compile(r"torch|train|nanogpt|gpt|model\.py|configurator|cuda|prepare", re.IGNORECASE)
# How shells, Slurm and torchrun say that a process was ended from outside.
_SIGNAL: Final = re.compile(
    r"Signal \d{1,2} \((?P<name>SIG[A-Z]{2,6})\) received|DUE TO (?P<limit>TIME LIMIT|PREEMPTION)"
    r"|^slurmstepd: .{0,200}(?P<cancel>CANCELLED)|^(?P<bare>Terminated|Killed)(?:: 9)?$"
    r"|^(?:zsh: |\w{0,9}sh: line \d{1,9}:\s{1,4}\d{1,9} |\[\d{1,4}\]\s{1,4}[+-]?\s{0,4}\d{1,9} )"
    r"(?P<shell>[kK]illed|[tT]erminated)\b"
    r"|^srun: error: .{1,100}: (?P<srun>Killed|Terminated|Out Of Memory)$"
    r"|^(?:.{1,80}: |.{1,40}\d )?(?P<fault>Segmentation fault|Aborted|Bus error)(?: \(core dumped\))"
)
_TROUBLE: Final = re.compile("Signal|DUE TO|slurm|srun|[Tt]erminated|[Kk]illed|core dumped")
_FAULTS: Final = {"Segmentation fault": "SIGSEGV", "Aborted": "SIGABRT", "Bus error": "SIGBUS"}
_MEMORY: Final = re.compile(
    r"(?:CUDA|MPS|HIP|XPU)(?: backend)? out of memory|CUDA error: out of memory|oom[-_]kill"
    r"|DefaultCPUAllocator: (?:can't|not enough memory)",
    re.IGNORECASE,
)
_MESSAGE_CHARS: Final = 400  # torch's messages run to a page; the first lines carry the fact


class TracebackReader:
    """Fed every line; `feed` returns a Failure on the line that completes one."""

    def __init__(self) -> None:
        self.in_training = False  # the log shows a training: whatever fails now is its failure
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
        if _TROUBLE.search(line) and (signal := _SIGNAL.search(line)):
            return Failure(exception=_signal_name(signal), message=line.strip()[:_MESSAGE_CHARS])
        if _START in line:
            self._inside, self._relevant, self._location, self._frame_open = True, False, "", False
            return None
        if self._inside:
            return self._inside_traceback(_RANK.sub("", line))
        if "emory" in line or "oom" in line or "EMORY" in line:
            text = _RANK.sub("", line)
            if _MEMORY.search(text):
                return Failure(exception="OutOfMemoryError", message=text.strip()[:_MESSAGE_CHARS])
        return None

    def _inside_traceback(self, text: str) -> Failure | None:
        if frame := _FRAME.match(text):
            file = frame["file"] or frame["ipython"] or "notebook"
            self._relevant = self._relevant or bool(_TRAINING.search(file))
            number = frame["line"] or frame["at"] or frame["cell"]
            self._location = f"{_BASENAME.sub('', file)}, line {number}"
            self._frame_open = frame["file"] is not None
            return None
        if not text or text[0].isspace() or text[0] in "-^~":
            if self._frame_open and text.strip():
                self._location += f": {text.strip()[:120]}"
            self._frame_open = False
            return None
        found = _EXCEPTION.match(text)
        if found is None or not self._names_an_exception(found["name"]):
            return None
        self._inside = False
        message = (found["message"] or "").strip()[:_MESSAGE_CHARS]
        if not (self._relevant or self.in_training or _TRAINING.search(message)):
            return None
        name = "OutOfMemoryError" if _MEMORY.search(text) else found["name"]
        return Failure(exception=name, message=message, location=self._location)

    def _names_an_exception(self, name: str) -> bool:
        """By its ending, or, after a frame, any capitalised name at the start of a line."""
        return bool(_LIKE_AN_EXCEPTION.search(name)) or (
            bool(self._location) and name.rsplit(".", 1)[-1][:1].isupper()
        )


def _signal_name(found: re.Match[str]) -> str:
    if found["fault"]:
        return _FAULTS[found["fault"]]
    if found["srun"] == "Out Of Memory":
        return "SIGKILL"
    word = (found["bare"] or found["shell"] or found["srun"] or "").lower()
    return found["name"] or ("SIGKILL" if word == "killed" else "SIGTERM")
