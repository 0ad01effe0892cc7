"""The project templates under templates/project, and how one becomes a folder of the user's.

A template is a folder of files copied as they are; `gitignore` becomes `.gitignore` (packaging tools drop or
obey dotfiles). The first comment line of its nanogpt.toml says what it is, the first command of its README
what to type first.
"""

import difflib
import shlex
from pathlib import Path
from typing import Final

from nanogpt_cli.config.load import PROJECT_FILE
from nanogpt_cli.errors import NanoGPTError, UsageError, os_reason
from nanogpt_cli.files import templates_dir, write_atomic

DEFAULT_TEMPLATE: Final = "char"
_RENAMED: Final = {"gitignore": ".gitignore"}


def template_names() -> list[str]:
    """Names of all project templates, the default first."""
    names = (path.name for path in (templates_dir() / "project").iterdir() if path.is_dir())
    return sorted(names, key=lambda name: (name != DEFAULT_TEMPLATE, name))


def template_summary(name: str) -> str:
    """What a template is, in one line."""
    first, _, _ = (_folder(name) / PROJECT_FILE).read_text(encoding="utf-8").partition("\n")
    return first.removeprefix("#").strip()


def first_command(name: str) -> str:
    """The first command in a template's README."""
    readme = (_folder(name) / "README.md").read_text(encoding="utf-8")
    return readme.partition("```sh\n")[2].partition("\n")[0]


def write_project(name: str, folder: Path, *, force: bool = False) -> list[str]:
    """Write template `name` into `folder`, made if need be; returns the names of the files written.

    Without `force` nothing at all is written when one of the files is already there.
    """
    contents = {
        _RENAMED.get(source.name, source.name): source.read_bytes()
        for source in sorted(_folder(name).iterdir())
        if source.is_file()
    }
    _check_folder(folder)
    present = [target for target in contents if (folder / target).exists() or (folder / target).is_symlink()]
    if present and not force:
        raise NanoGPTError(
            f"{folder.resolve()} already has {', '.join(present)}; nothing was written",
            "name a new folder, nanogpt init my-gpt, or overwrite them: "
            + shlex.join(["nanogpt", "init", str(folder), "--template", name, "--force"]),
        )
    _write_all(folder, contents, new=[target for target in contents if target not in present])
    return list(contents)


def _check_folder(folder: Path) -> None:
    """`folder` is one or can become one: nothing on the way to it is a file."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if place.exists():
            raise UsageError(f"{place} is a file, not a folder", "name a folder: nanogpt init my-gpt")


def _write_all(folder: Path, contents: dict[str, bytes], *, new: list[str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target, content in contents.items():
            write_atomic(folder / target, content)
    except OSError as error:
        for target in new:  # half a project would be in the way of the next attempt
            (folder / target).unlink(missing_ok=True)
        raise NanoGPTError(
            f"cannot write into {folder}: {os_reason(error)}",
            "choose a folder that is yours: nanogpt init ~/my-gpt",
        ) from error


def _folder(name: str) -> Path:
    if name not in template_names():
        near = difflib.get_close_matches(name, template_names(), n=1)
        raise UsageError(
            f"there is no template {name!r}" + (f" (did you mean {near[0]}?)" if near else ""),
            f"nanogpt init --template NAME, where NAME is one of: {', '.join(template_names())}",
        )
    return templates_dir() / "project" / name
