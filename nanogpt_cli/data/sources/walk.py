"""The texts inside a folder: found in an order that is the same everywhere, all else skipped and counted."""

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.byte_stream import Meter, open_file
from nanogpt_cli.data.sources.encodings import detect
from nanogpt_cli.data.sources.known_formats import PARQUET_MAGIC, known_format
from nanogpt_cli.data.sources.patterns import leads_to, matches
from nanogpt_cli.errors import NanoGPTError

_MACHINE_FOLDERS: Final = ("node_modules", "__pycache__", "site-packages", "__MACOSX")
# Folders made by a tool, told by files in them: our datasets and runs, and virtual environments.
_MADE_BY_TOOLS: Final = (
    ("a prepared dataset", frozenset({"meta.json", "train.bin"})),
    ("a training run", frozenset({"config.toml", "metrics.jsonl"})),
    ("a virtual environment", frozenset({"pyvenv.cfg"})),
)


class Walk:
    """One walk through a folder: `texts` gives what it holds, the counts what was left out."""

    def __init__(self, root: Path, options: SourceOptions, *, only: str | None = None) -> None:
        """`only` is a glob that a file, or a folder above it, must match besides the options' globs."""
        self.size_bytes = 0  # of the texts given so far
        self.binary: Counter[str] = Counter()  # by the name's ending
        self.skipped: Counter[str] = Counter()  # by reason
        self.folders: list[str] = []  # that were left out whole
        self._root = root
        self._real_root = root.resolve()
        self._options = options
        self._only = only
        asked = (*options.include, only or "")
        self._hidden_too = any(
            part.startswith(".") for glob in asked for part in glob.split("/") if part != "."
        )
        self._entered: set[tuple[int, int]] = set()

    def texts(self) -> Iterator[str]:
        """Each text's path inside the folder, with `/`, sorted name by name."""
        return self._inside("")

    def _inside(self, folder: str) -> Iterator[str]:
        """The texts of a folder, "" or a path that ends in a slash."""
        try:
            state = os.stat(self._root / folder)
            with os.scandir(self._root / folder) as entries:
                found = sorted(entries, key=lambda entry: unicodedata.normalize("NFC", entry.name))
        except OSError:
            self.skipped["unreadable folder"] += 1
            return
        # Links make circles, and second ways to the same texts.
        if (state.st_dev, state.st_ino) in self._entered:
            self.skipped["linked twice"] += 1
            return
        self._entered.add((state.st_dev, state.st_ino))
        if folder and (maker := _maker({entry.name for entry in found})):
            self.folders.append(f"{folder[:-1]} ({maker})")
            return
        for entry in found:
            path = folder + entry.name
            try:
                is_folder, state = entry.is_dir(), entry.stat()
            except OSError:  # a link to nowhere, a circle of links, or gone since
                if self._is_wanted(path):
                    self.skipped["broken link"] += 1
                continue
            if is_folder:
                if self._enters(path, entry.name):
                    yield from self._inside(f"{path}/")
            elif self._is_wanted(path):
                reason = self._why_not(path, entry, state)
                if reason is None:
                    self.size_bytes += state.st_size
                    yield path
                elif reason:
                    self.skipped[reason] += 1

    def _enters(self, path: str, name: str) -> bool:
        if matches(path, self._options.exclude) or (self._only and not leads_to(path, self._only)):
            return False
        if name in _MACHINE_FOLDERS or (name.startswith(".") and not self._hidden_too):
            self.folders.append(path)
            return False
        return True

    def _is_wanted(self, path: str) -> bool:
        """Whether the user's globs take a file."""
        options = self._options
        if options.include and not matches(path, options.include):
            return False
        if self._only and not matches(path, (f"/{self._only}",)):
            return False
        return not matches(path, options.exclude)

    def _why_not(self, path: str, entry: os.DirEntry[str], state: os.stat_result) -> str | None:
        """Why a file is no text to be read; None where it is one. Binary files are counted by themselves."""
        if entry.name.startswith(".") and not self._hidden_too:
            return "hidden"
        if not stat.S_ISREG(state.st_mode):
            return "pipe or device"
        if state.st_size == 0:
            return "empty"
        full = self._root / path
        if entry.is_symlink() and full.resolve().is_relative_to(self._real_root):
            return "linked twice"
        try:
            with open_file(full, Meter()) as stream:
                head = stream.head
        except NanoGPTError:
            # One that is damaged is left in: reading it will say what is wrong.
            return None if os.access(full, os.R_OK) else "unreadable"
        if not head:
            return "empty"
        if _is_binary(head, self._options.encoding):
            self.binary[full.suffix.lower() or "without ending"] += 1
            return ""
        return None

    def told(self) -> str:
        """What was left out, for people; empty where nothing was."""
        binary = self.binary.total()
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in self.binary.most_common(6))
        more = " …" if len(self.binary) > 6 else ""
        parts = [f"{binary:,} binary ({kinds}{more})"] if binary else []
        parts += [f"{count:,} {reason}" for reason, count in self.skipped.most_common()]
        if self.folders:
            parts.append(f"the folder{'s' * (len(self.folders) > 1)} {', '.join(self.folders[:6])}")
        if len(self.folders) > 6:
            parts[-1] += f" and {len(self.folders) - 6:,} more"
        return ", ".join(parts)


def maker_of(folder: Path) -> str | None:
    """`a prepared dataset` or what else made the folder, by its files; None for a folder of texts."""
    try:
        return _maker(set(os.listdir(folder)))
    except OSError:
        return None  # reading it will say why


def _maker(names: set[str]) -> str | None:
    return next((maker for maker, needed in _MADE_BY_TOOLS if needed <= names), None)


def _is_binary(head: bytes, encoding: str | None) -> bool:
    if head.startswith(PARQUET_MAGIC):
        return False
    return known_format(head) is not None or (b"\0" in head and detect(head, encoding).nul_is_a_byte)
