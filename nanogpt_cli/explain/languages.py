"""Which language to speak: the one asked for, else NANOGPT_LANG, else the locale's, else English.

A language is a file in `messages/`. A locale of another language is no mistake of anybody and means English;
an unknown name that somebody typed is a UsageError.
"""

import locale
import os
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from nanogpt_cli.errors import UsageError
from nanogpt_cli.explain.catalogue import DEFAULT_LANGUAGE

VARIABLE = "NANOGPT_LANG"
# As Windows names them, and as somebody may type them.
_NAMES: Final = {
    "english": "en",
    **dict.fromkeys(("spanish", "español", "castellano"), "es"),
    **dict.fromkeys(("french", "français"), "fr"),
    **dict.fromkeys(("chinese", "中文"), "zh"),
}


def languages(prefix: str = "") -> tuple[str, ...]:
    """The languages that have a catalogue; those of `train --explain` have names with a prefix."""
    files = resources.files("nanogpt_cli.explain").joinpath("messages").iterdir()
    names = (file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    found = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return tuple(sorted(name for name in found if "_" not in name))


def choose_language(wanted: str = "", environment: Mapping[str, str] = os.environ, prefix: str = "") -> str:
    """The catalogue to use; `wanted` is what the user typed, "" for nothing."""
    known = languages(prefix)
    for name, origin in ((wanted, "--lang"), (environment.get(VARIABLE, ""), VARIABLE)):
        if not name:
            continue
        if (code := _code(name)) in known:
            return code
        raise UsageError(
            f"{origin}: there is no language {name!r}, only {', '.join(known)}",
            f"use one of them: --lang {DEFAULT_LANGUAGE}",
        )
    # POSIX: the first of these that is set decides. Elsewhere the system is asked.
    variables = (environment.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    set_by_user = next((value for value in variables if value), "")
    code = _code(set_by_user or _system_locale())
    return code if code in known else DEFAULT_LANGUAGE


def _system_locale() -> str:
    """What the system speaks where no variable says it: Windows' display language, else Python's locale."""
    if (windows := _windows()) is not None:
        return locale.windows_locale.get(windows.kernel32.GetUserDefaultUILanguage(), "")
    return locale.getlocale()[0] or ""


def _windows() -> Any:
    """The functions of Windows; None elsewhere."""
    if os.name != "nt":
        return None
    import ctypes

    return ctypes.windll  # type: ignore[attr-defined, unused-ignore]


def _code(name: str) -> str:
    """`es_MX.UTF-8`, `es-MX`, `es@euro` and `Spanish_Mexico.1252` (Windows) are es."""
    language = re.split(r"[-_.@:]", name.strip(), maxsplit=1)[0].lower()
    return _NAMES.get(language, language)
