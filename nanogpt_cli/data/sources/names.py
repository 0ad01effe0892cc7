"""Names made of what the user called a source: safe for a folder, for UTF-8, for a shell."""

import re

from nanogpt_cli.errors import UsageError


def readable(text: str) -> str:
    """Text that UTF-8 can hold: a file name's bytes that are not UTF-8 become U+FFFD."""
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)


def safe_name(text: str) -> str:
    """A folder name that needs no quoting in any shell: letters of any script, digits, `_`, `.`, `-`."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "dataset"


def check_name(name: str) -> str:
    """`name` if it can be a dataset's; raises UsageError otherwise."""
    if name != safe_name(name) or len(name.encode()) > 200:  # most file systems end at 255 bytes
        raise UsageError(
            f"{name!r} cannot name a dataset: use letters, digits, '_', '-' and '.'",
            f"--name {safe_name(name)[:60]}",
        )
    return name
