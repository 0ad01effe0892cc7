"""Lines end where a language allows, and are as wide as a terminal shows them."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from nanogpt_cli.cli.explain_screen import panels
from nanogpt_cli.explain.report import Explanation
from nanogpt_cli.explain.show.text import plain_text
from nanogpt_cli.explain.show.wrap import columns, wrap
from tests.explain.samples import FIXTURES, explain_text

CHINESE = (
    "验证损失在第 2000 次迭代时最低（1.4687），之后上升到 1.6883，而训练损失继续下降：模型正在背诵训练文本。"
    "请使用第 2000 次迭代的检查点，并设置 max_iters 2000；也可以增大 dropout。"
)
FRENCH = "La perte de validation\u202f: 1,4687 à l’itération 2000\u202f; elle est remontée depuis\u202f!"
WORDS = st.text(alphabet="ab 损失，。（）学é\u202f:1", max_size=120)


@given(WORDS, st.integers(20, 60))
def test_no_line_is_wider_and_nothing_is_lost(text: str, width: int) -> None:
    lines = wrap(text, width, "  ", "    ")
    assert all(cell_len(line) <= max(width, 4 + 20) for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("width", [24, 40, 60])
def test_chinese_fills_its_lines_and_keeps_its_marks(width: int) -> None:
    lines = wrap(CHINESE, width)
    assert all(columns(line) <= width for line in lines)
    assert all(columns(line) >= width - 12 for line in lines[:-1]), "a clause is parted, not moved as a whole"
    assert not any(line[0] in "，。：；）" for line in lines)
    assert not any(line[-1] == "（" for line in lines)


def test_a_french_sign_stays_with_its_word() -> None:
    for width in range(20, 60):
        assert not any(line[0] in "\u202f:;!" for line in wrap(FRENCH, width))


def test_english_is_wrapped_at_spaces_and_a_long_path_is_cut() -> None:
    assert wrap("one two three four five six", 20, "  ", "    ") == ["  one two three four", "    five six"]
    assert wrap("x" * 50, 20) == ["x" * 20, "x" * 20, "x" * 10]
    assert wrap("", 20) == [""]


def test_format_and_unread_lines_are_told() -> None:
    explanation = explain_text("hello\n" + (FIXTURES / "pair.log").read_text())
    assert "Format: nanogpt. Lines: 4, of which not understood: 1." in plain_text(explanation, 80)


def chinese() -> Explanation:
    from dataclasses import replace

    explanation = explain_text((FIXTURES / "pair.log").read_text())
    findings = tuple(replace(finding, message=CHINESE, advice=CHINESE) for finding in explanation.findings)
    return replace(explanation, summary=CHINESE, findings=findings)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_chinese_panels_are_straight(width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    console.print(panels(chinese(), console))
    lines = [Text.from_ansi(line).plain for line in stream.getvalue().splitlines()]
    assert {cell_len(line) for line in lines} == {width}
    said = "".join(line.strip("│ ") for line in lines if line[0] == "│").replace(" ", "")
    assert CHINESE.replace(" ", "") in said
    assert not any(line[2] in "，。：；）" for line in lines if line[0] == "│")
