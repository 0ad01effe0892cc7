"""Folders and globs: the same texts in the same order everywhere, and what is left out is said."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.open import open_sources
from nanogpt_cli.data.sources.patterns import leads_to, matches, split_glob
from tests.data.sources.reading import COMPRESS, Notes, csv_bytes, documents, jsonl, parquet_bytes, refusal

posix_only = pytest.mark.skipif(os.name != "posix", reason="links, pipes and permissions as on Unix")


def put(name: str, content: str | bytes | None = None) -> Path:
    """A file under `texts`, with its own name as text unless told otherwise."""
    path = Path("texts") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = name if content is None else content
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def found(*names: str, **options: object) -> tuple[list[str], str]:
    """The documents of a folder, and the note about it."""
    notes = Notes()
    texts = documents(*(names or ("texts",)), notes=notes, **options)
    return texts, notes.notices[0]


def test_every_text_whatever_its_ending_sorted_name_by_name() -> None:
    for name in ("b.txt", "a/z.md", "a.txt", "a/b/c.py", "B.rst", "no_ending", "ä.tex", "a-b"):
        put(name)
    texts, note = found()
    assert texts == ["B.rst", "a/b/c.py", "a/z.md", "a-b", "a.txt", "b.txt", "no_ending", "ä.tex"]
    assert note == "texts: 8 files of text"


def test_what_is_no_text_is_skipped_and_counted() -> None:
    put("a.txt")
    for name, raw in {
        "x.png": b"\x89PNG\r\n\x1a\n",
        "y.PNG": b"\x89PNG\r\n\x1a\n",
        "z.bin": b"ab\0c",
        "doc.pdf": b"%PDF-1.7",
        "empty.txt": b"",
        "nothing.gz": COMPRESS["gzip"](b""),
        ".hidden": b"x",
        ".git/config": b"x",
        "node_modules/a/b.js": b"x",
        "sub/__pycache__/a.txt": b"x",
        "venv/pyvenv.cfg": b"x",
        "venv/a.txt": b"x",
    }.items():
        put(name, raw)
    texts, note = found()
    assert texts == ["a.txt"]
    assert note == (
        "texts: 1 file of text; skipped: 4 binary (2 .png, 1 .pdf, 1 .bin), 2 empty, 1 hidden, "
        "the folders .git, node_modules, sub/__pycache__, venv (a virtual environment)"
    )


def test_datasets_and_runs_inside_the_folder_are_left_alone() -> None:
    put("input.txt")
    put("data/input/meta.json", "{}")
    put("data/input/train.bin", b"ids")
    put("data/input/nanogpt_tokenizer.json", "{}")
    put("out/run/config.toml", "")
    put("out/run/metrics.jsonl", "{}")
    put("out/run/train.log", "iter 0")
    texts, note = found()
    assert texts == ["input.txt"]
    assert "data/input (a prepared dataset), out/run (a training run)" in note
    error = refusal("texts/data/input")
    assert error.message == f"{Path('texts/data/input')} is a prepared dataset, not a folder of texts"
    assert error.hint == f"train on it: nanogpt train --dataset {Path('texts/data/input')}"


def test_include_and_exclude() -> None:
    for name in ("a.md", "a.txt", "sub/b.md", "sub/deep/c.md", "sub/tests/d.md", ".notes/e.md"):
        put(name)
    assert found(include=("*.md",))[0] == ["a.md", "sub/b.md", "sub/deep/c.md", "sub/tests/d.md"]
    assert found(include=("sub/*.md",))[0] == ["sub/b.md"]
    assert found(include=("sub",), exclude=("tests/",))[0] == ["sub/b.md", "sub/deep/c.md"]
    assert found(include=("*.md",), exclude=("sub/**/?.md",))[0] == ["a.md"]
    assert found(include=(".notes/**",))[0] == [".notes/e.md"]
    error = refusal("texts", include=("*.rst",))
    assert error.message.startswith("there is no text that --include and --exclude leave in texts")


def test_globs_take_what_they_match_and_folders_whole() -> None:
    for name in ("a.txt", "b.md", "c1/d.txt", "c2/e/f.txt", "c2/e/g.png"):
        put(name, b"\x89PNG\r\n" if name.endswith("png") else None)
    assert found("texts/*.txt")[0] == ["a.txt"]
    assert found("texts/**/*.txt")[0] == ["a.txt", "c1/d.txt", "c2/e/f.txt"]
    assert found("texts/c?")[0] == ["c1/d.txt", "c2/e/f.txt"]
    assert found("texts/c[!1]/*/*")[0] == ["c2/e/f.txt"]
    assert found(str(Path("texts").resolve() / "*.md"))[0] == ["b.md"]
    assert found("./tex*/**/f.txt")[0] == ["c2/e/f.txt"]
    assert refusal("texts/*.rst").message == f"there is no text in {Path('texts/*.rst')}"
    put("odd[1].txt")
    assert documents("texts/odd[1].txt") == ["odd[1].txt"]  # a file of that name is meant before a glob


def test_several_names_are_read_in_their_order() -> None:
    put("b.txt")
    put("a/c.txt")
    put("t.jsonl", jsonl([{"text": "row"}]))
    source = open_sources(["texts/t.jsonl", "texts/b.txt", "texts/a"])
    assert ["".join(document) for document in source.documents()] == ["row", "b.txt", "a/c.txt"]
    assert source.collection
    assert source.repeatable
    assert source.dataset_name == "texts"
    assert source.done_bytes == source.size_bytes
    assert open_sources(["texts/b.txt", "texts/a/c.txt", "python-docs"]).dataset_name == "b-c-python-docs"
    assert open_sources(["texts/b.txt"] * 9 + ["python-docs"]).dataset_name == "b-and-9-more"


def test_tables_and_texts_in_one_folder() -> None:
    put("1.txt")
    put("2.csv", csv_bytes([["id", "text"], [1, "two"]]))
    put("3.jsonl", jsonl([{"text": "three"}, {"text": None}]))
    put("4.parquet", parquet_bytes({"text": ["four"]}))
    put("5.csv", "id,text\n")
    put("6.json", '{"name": "package", "version": "1"}')
    put("7.json", '[{"text": "seven"}]')
    notes = Notes()
    texts = documents("texts", notes=notes)
    assert texts == ["1.txt", "two", "three", "four", '{"name": "package", "version": "1"}', "seven"]
    assert notes.notices[1:] == [
        f"the text is column 'text' of {Path('texts/2.csv')} (--text-column chooses another)",
        f"{Path('texts/6.json')} is no table of texts: it and others like it are taken as plain text",
    ]
    assert notes.warnings == [
        f"column 'text' of {Path('texts/3.jsonl')}: 1 row without text skipped (1 null)"
    ]


def test_a_fault_in_one_file_names_it_and_the_way_around() -> None:
    put("a.txt")
    put("sub/bad one.txt", b"ok \xff\xfe")
    put("t.csv", "q,a\n1,2\n")
    assert refusal("texts", exclude=("t.csv",)).hint.endswith(
        "; or leave it out: --exclude 'sub/bad one.txt'"
    )
    assert refusal("texts", exclude=("sub",)).hint == "--text-column q; or leave it out: --exclude t.csv"
    assert documents("texts", exclude=("sub", "*.csv")) == ["a.txt"]


def test_one_note_for_many_files_that_give_the_same() -> None:
    for number in range(60):
        put(f"{number:02}.txt", "\ufeffé".encode("utf-16-le"))
    notes = Notes()
    assert documents("texts", notes=notes) == ["é"] * 60
    assert len(notes.notices) < 30
    assert notes.notices[-1] == "more notes like these are left out"


def test_notes_are_said_once_though_a_source_is_read_twice() -> None:
    put("t.jsonl", jsonl([{"id": 1, "text": "a"}, {"text": None}]))
    notes = Notes()
    source = open_sources(["texts/t.jsonl"], SourceOptions(), notes)
    for _ in range(2):
        assert ["".join(document) for document in source.documents()] == ["a"]
    assert (len(notes.notices), len(notes.warnings)) == (1, 1)


@posix_only
def test_links_are_followed_but_no_text_is_read_twice() -> None:
    put("a/real.txt")
    Path("outside").mkdir()
    Path("outside/more.txt").write_text("more")
    Path("texts/link.txt").symlink_to("a/real.txt")
    Path("texts/a/loop").symlink_to("..")
    Path("texts/again").symlink_to("a")
    Path("texts/outside").symlink_to(Path("outside").resolve())
    Path("texts/gone").symlink_to("nowhere")
    Path("texts/self").symlink_to("self")
    texts, note = found()
    assert texts == ["a/real.txt", "more"]
    assert note == "texts: 2 files of text; skipped: 3 linked twice, 2 broken link"


@posix_only
def test_pipes_devices_and_unreadable_files_are_skipped_in_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.txt")
    secret = put("secret.txt")
    os.mkfifo("texts/pipe")
    real_open, real_access = Path.open, os.access

    def refuse(self: Path, *args: object, **options: object) -> object:
        if self.name == secret.name:
            raise PermissionError(13, "Permission denied")
        return real_open(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != secret.name and real_access(path, mode))
    texts, note = found()
    assert texts == ["a.txt"]
    assert note == "texts: 1 file of text; skipped: 1 pipe or device, 1 unreadable"


def test_a_folder_without_texts() -> None:
    Path("texts").mkdir()
    assert refusal("texts").message == "there is no text in texts"
    put("a.png", b"\x89PNG\r\n")
    assert refusal("texts").message == "there is no text in texts (skipped: 1 binary (1 .png))"


# ---- patterns


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("a.txt", "*.txt", True),
        ("x/a.txt", "*.txt", True),
        ("x/a.txt", "/*.txt", False),
        ("x/a.txt", "./*.txt", False),
        ("x/a.txt", "x", True),
        ("x/a.txt", "x/", True),
        ("y/x/a.txt", "x/", True),
        ("y/x/a.txt", "x/a.txt", False),
        ("y/x/a.txt", "**/a.txt", True),
        ("a.txt", "**/a.txt", True),
        ("y/x/a.txt", "y/**", True),
        ("y/x/a.txt", "y/**/a.*", True),
        ("y/x/a.txt", "y/*/a.txt", True),
        ("y/x/a.txt", "y*/a.txt", False),
        ("a.TXT", "*.txt", False),
        ("a1", "a[0-9]", True),
        ("aa", "a[!0-9]", True),
        ("a]", "a[]]", True),
        ("a[b", "a[b", True),
        ("a\nb.txt", "*.txt", True),
        ("x/a\nb.txt", "x/**", True),
        ("a.b", "a?b", True),
        ("a.b", "a.b", True),
        ("axb", "a.b", False),
        ("a^", "a[^]", True),
    ],
)
def test_patterns(path: str, pattern: str, expected: bool) -> None:
    assert matches(path, (pattern,)) is expected


@given(
    names=st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), min_size=1, max_size=4),
    stars=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_a_path_matches_itself_with_stars_for_names(names: list[str], stars: list[bool]) -> None:
    escaped = ["".join(f"[{c}]" if c in "*?[" else c for c in name) for name in names]
    parts = ["*" if star else name for name, star in zip(escaped, stars, strict=False)]
    if names[0] != "." and all(name != "**" for name in names):
        assert matches("/".join(names), ("/" + "/".join(parts),))
        assert all(leads_to("/".join(names[:depth]), "/".join(parts)) for depth in range(1, len(names)))


@pytest.mark.parametrize(
    ("glob", "split"),
    [("*.txt", (".", "*.txt")), ("a/b/*/c", ("a/b", "*/c")), ("/x/**", ("/x", "**")), ("/*", ("/", "*"))],
)
def test_a_glob_starts_from_the_folder_before_it(glob: str, split: tuple[str, str]) -> None:
    assert split_glob(glob) == split


def test_tables_named_after_splits_among_texts_make_no_dataset_of_a_folder() -> None:
    """A program's folder with a table for its tests was read as a Hugging Face dataset, and no text of it."""
    put("a.py")
    put("tests/test.json", '{"x": 1}')
    put("train.csv", csv_bytes([["text"], ["row"]]))
    assert documents("texts") == ["a.py", '{"x": 1}', "row"]
