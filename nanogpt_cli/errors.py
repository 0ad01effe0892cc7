"""The one exception a user can meet, and the exit codes of every command.

Contract: whatever a user can cause ends in a `NanoGPTError`, which says in one line what is wrong and in
another what to type. Anything else that escapes is a bug of ours.
"""

from typing import Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_DIVERGED: Final = 3
EXIT_LOST_PEER: Final = 75  # of one process among several, because another ended: that one's code is reported
EXIT_SIGINT: Final = 130  # 128 + SIGINT(2), the shell's convention
EXIT_SIGTERM: Final = 143  # 128 + SIGTERM(15)


class NanoGPTError(Exception):
    """Something the user can put right: `message` says what is wrong, `hint` what to type.

    `details` are further lines, one problem each, where several are reported at once.
    """

    exit_code: int = EXIT_FAILED

    def __init__(self, message: str, hint: str, *, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(NanoGPTError):
    """The command line or a configuration is wrong; nothing was started (exit code 2)."""

    exit_code = EXIT_USAGE


class LostPeerError(NanoGPTError):
    """Another process of a distributed run has ended, and this one cannot go on alone."""

    exit_code = EXIT_LOST_PEER


class DivergedError(NanoGPTError):
    """The loss or a gradient became NaN or infinite; no weights were touched by it (exit code 3)."""

    exit_code = EXIT_DIVERGED


def first_line(error: Exception) -> str:
    """The first line of an error that holds anything, shortened; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip()[:160]


def os_reason(error: OSError) -> str:
    """The system's words for an error, as a sentence goes on; other text may hold a path and stays."""
    return error.strerror.lower() if error.strerror else str(error)
