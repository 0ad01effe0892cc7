"""The HTML page: one file, complete, without anything from outside, safe whatever a log says."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from nanogpt_cli.explain.compare import compare
from nanogpt_cli.explain.report import Explanation
from nanogpt_cli.explain.show.comparison_page import comparison_page
from nanogpt_cli.explain.show.page import html_page
from tests.explain.samples import FIXTURES, eval_lines, explain_text, falling, iter_lines, metrics
from tests.explain.test_rules import FIRES

VOID = {"meta", "img", "br", "link", "input", "hr", "base", "embed", "source"}
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "article", "footer"),
    *("h1", "h2", "h3", "p", "dl", "dt", "dd", "div", "span", "strong", "code", "a", "ul", "ol", "li"),
    *("figure", "figcaption", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "g", "defs", "path", "use", "text", "circle", "rect", "clippath"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "role", "scope", "value"),
    *("aria-label", "aria-labelledby", "aria-hidden", "viewbox", "d", "x", "y", "cx", "cy", "r", "width"),
    *("height", "transform", "clip-path", "fill", "fill-opacity", "opacity", "text-anchor"),
    *("stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "stroke-opacity"),
    *("stroke-dasharray", "stroke-dashoffset"),
}


class Page(HTMLParser):
    """What a browser would find: elements, attributes, text; unclosed elements are an error."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def checked(source: str) -> Page:
    """The page, after all that must hold for any."""
    page = Page(source)
    assert set(page.tags) <= ELEMENTS
    assert {name for _, name, _ in page.attributes} <= ATTRIBUTES
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = page.values("href") + page.values("aria-labelledby")
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    assert all(href.startswith("#") for href in page.values("href"))
    clips = re.findall(r"url\(([^)]*)\)", " ".join(page.values("clip-path")))
    assert {clip.removeprefix("#") for clip in clips} <= set(ids)
    assert "url(" not in page.style
    assert "@import" not in page.style
    policies = [value for value in page.values("content") if value.startswith("default-src")]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]
    return page


def long_run() -> Explanation:
    losses = falling(4.2, 1.9, 3000)
    return explain_text(metrics(losses, end="finished"))


def test_everything_is_on_the_page() -> None:
    page = checked(html_page(long_run()))
    for words in (
        "Training report",
        "0.80M",
        "Loss (nats per token)",
        "Learning rate",
        "The lines explained",
    ):
        assert words in page.text
    assert page.tags.count("figure") == 5
    assert page.tags.count("table") == 5, "every curve is also a table"
    drawings = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(drawings) == 10
    assert all("between" in sentence for sentence in drawings)


def test_the_page_stays_small() -> None:
    """3,000 iterations and 600 evaluations with five charts; a large log is thinned to as much."""
    assert len(html_page(long_run()).encode()) < 400_000


def test_the_same_log_gives_the_same_page() -> None:
    explanation = explain_text((FIXTURES / "shakespeare_cpu.log").read_text())
    assert html_page(explanation) == html_page(explanation)


def test_findings_are_numbered_as_on_the_curves() -> None:
    source = html_page(explain_text(FIRES["overfitting"]))
    page = checked(source)
    assert "#finding-1" in page.values("href")
    assert "finding-1" in page.values("id")


def test_the_best_is_marked_and_colours_are_the_style_sheets() -> None:
    source = html_page(explain_text(eval_lines([(4.2, 4.2), (2.0, 2.2), (1.5, 1.9), (1.2, 2.0)])))
    assert "best validation loss: 1.9000 at iteration 500" in checked(source).text
    drawing = source[source.index("<svg") : source.index("</svg>")]
    assert "stroke-best" in drawing
    assert "#0000" not in source, "no placeholder colour is left"
    used = set(
        re.findall(r"(?:stroke|fill)-(?:ink\d|grid|axis|flag|best|label)", source.split("</style>")[1])
    )
    styled = set(re.findall(r"\.((?:stroke|fill)-\w+) ", source.split("</style>")[0]))
    assert used <= styled


@pytest.mark.parametrize(
    "text", ["", "Dear diary\n", "iter 0: loss nan\n", "Traceback (most recent call last):\n"]
)
def test_a_page_of_nearly_nothing(text: str) -> None:
    assert "too few points" in checked(html_page(explain_text(text))).text


# --- hostile logs

PAYLOADS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</style><style>*{display:none}</style>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></head><body onload=alert(1)>",
    "<!--",
    "]]><a href=javascript:alert(1)>x</a>",
    "&lt;b&gt; $title ${body} {iter} %s",
    "\ud800 \u202e \x00 \x1b[2J \u2028",
)  # fmt: skip


def hostile(payload: str, points: int = 1) -> list[str]:
    """Logs with the payload wherever a log can say something; one point makes no curve, which is faster."""
    name = payload.replace("\n", " ")
    frame = f'  File "{name}.py", line 1, in x\n    {name}\n'
    crash = f"Traceback (most recent call last):\n{frame}ValueError: {name}\n"
    text = (
        f"Overriding: dataset = {name}\nout_dir = '{name}'\ndevice = '{name}'\n"
        f"tokens per iteration will be: 768\n{name}\n{iter_lines(falling(4.0, 2.0, points))}"
        f"{name} iter 3: loss {name}\n"
    )
    config = {"dataset": name, "out_dir": name, name: name, "max_iters": 200}
    record = metrics(
        falling(4.2, 1.9, points), end=name, config=config, device=name, peak_source=name, vocab_size=65
    )
    return [text + crash, record, record + crash + json.dumps({"event": name, name: name}) + "\n"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_hostile_log_is_only_text(payload: str) -> None:
    for text in hostile(payload):
        explanation = explain_text(text.encode("utf-8", "surrogatepass"))
        source = html_page(explanation)
        source.encode("utf-8")
        page = checked(source)
        assert "script" not in page.tags
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", source)
        visible = payload.split("\x00")[0].strip()
        if visible.isascii() and explanation.run.failures:
            assert visible[:12] in " ".join(page.text.split()), "it is shown, as text"


def test_a_hostile_comparison_is_only_text() -> None:
    logs = [
        explain_text(text.encode("utf-8", "surrogatepass")) for text in hostile(" ".join(PAYLOADS), 15)[:2]
    ]
    named = [
        replace(log, source=f"{i}/{payload}")
        for i, (log, payload) in enumerate(zip(logs, PAYLOADS, strict=False))
    ]
    page = checked(comparison_page(compare(named)))
    assert "script" not in page.tags
    assert PAYLOADS[1] in page.text
