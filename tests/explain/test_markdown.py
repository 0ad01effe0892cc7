"""Markdown: what a log says stays text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.explain.show.markdown import code_block, code_span, escaped, markdown
from tests.explain.samples import FIXTURES, explain_text, iter_lines

HOSTILE = "</script><img src=x onerror=alert(1)> [a](javascript:b) ![i](http://x) | * _ ~~ `c` &lt; #"


def test_the_parts_in_their_order() -> None:
    text = markdown(explain_text((FIXTURES / "pair.log").read_text()), plot=["10┤⠒"])
    parts = ["## Summary", "```text\n10┤⠒\n```", "## Findings", "### 1. warning: ", "**What to do**: "]
    places = [text.index(part) for part in [*parts, "## The lines explained", "`iter 5000: loss 0.8236"]]
    assert places == sorted(places)
    assert "\n- **time**: " in text


def test_a_hostile_log_brings_no_markup() -> None:
    crash = f'Traceback (most recent call last):\n  File "train.py", line 1\nValueError: {HOSTILE}\n'
    text = markdown(explain_text(iter_lines([4.0, 3.0]) + crash + HOSTILE), unread=True)
    blocks = text.split("```")
    outside = "".join(blocks[::2])
    assert "\\<img" in outside
    assert "<img" in blocks[-2], "the line nobody understood is shown in a block"
    unescaped = re.sub(r"\\.", "", re.sub(r"(?m)^`.*`$", "", outside))
    assert not set("<>[]&|~") & set(unescaped)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1. a list", "1\\. a list"),
        ("123.59M parameters", "123.59M parameters"),
        ("- a list", "\\- a list"),
        ("-1 is no list", "-1 is no list"),
        ("===", "\\==="),
        ("a*b_c", "a\\*b\\_c"),
        ("two\nlines", "two lines"),
        ("", ""),
    ],
)
def test_escaping(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text(alphabet="`a \\"))
def test_a_code_span_closes_where_it_should(text: str) -> None:
    span = code_span(text)
    if span:
        fence = span[: len(span) - len(span.lstrip("`"))]
        assert span.endswith(fence)
        assert fence not in span[len(fence) : -len(fence)].split("`" + fence)[0] or "`" in text


def test_a_code_block_holds_fences() -> None:
    assert code_block(["```", "x"]) == "````text\n```\nx\n````"
