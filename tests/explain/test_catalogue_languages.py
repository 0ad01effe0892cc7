"""The catalogues say the same in every language, in its own typography, and nothing else is said."""

import re
import string
from collections.abc import Iterator, Mapping
from functools import cache
from html import unescape
from importlib import resources
from typing import Any

import pytest

from nanogpt_cli.accelerators import accelerator
from nanogpt_cli.explain.case import Finding
from nanogpt_cli.explain.catalogue import Catalogue, load_catalogue
from nanogpt_cli.explain.compare import compare
from nanogpt_cli.explain.crashes import CAUSES
from nanogpt_cli.explain.follow import changes
from nanogpt_cli.explain.languages import languages
from nanogpt_cli.explain.records import Log
from nanogpt_cli.explain.report import Explanation, explain, explain_log
from nanogpt_cli.explain.show.comparison_markdown import comparison_markdown
from nanogpt_cli.explain.show.comparison_page import comparison_page
from nanogpt_cli.explain.show.markdown import markdown
from nanogpt_cli.explain.show.page import html_page
from nanogpt_cli.explain.show.plot import legend
from nanogpt_cli.explain.show.series import charts
from nanogpt_cli.explain.show.text import plain_text
from tests.explain.rule_logs import FIRES, MORE, NEAR_MISSES
from tests.explain.samples import FIXTURES, eval_lines, falling, iter_lines, metrics, parse_text

LANGUAGES = [language for language in languages() if language != "en"]
FORMATS = re.compile(r"(size|short|(?:amount|count)(?:-of)?|,?(\.\d)?[fegdx%]|,)?")

# --- the files


def flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}{key}.")
        else:
            yield path + key, value


@cache
def texts(language: str) -> dict[str, str]:
    return dict(flat(load_catalogue(language).tables))


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def prose(text: str) -> str:
    """A text without its placeholders."""
    return "".join(literal for literal, _, _, _ in string.Formatter().parse(text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_in_every_language(language: str) -> None:
    assert set(texts(language)) == set(texts("en"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_placeholders(language: str) -> None:
    other = texts(language)
    assert {key: placeholders(other[key]) for key in other} == {
        key: placeholders(text) for key, text in texts("en").items()
    }


@pytest.mark.parametrize("language", languages())
def test_only_known_formats(language: str) -> None:
    for key, text in texts(language).items():
        for _, _, spec, conversion in string.Formatter().parse(text):
            assert conversion is None, key
            assert FORMATS.fullmatch(spec or ""), f"{key}: {spec}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_typed_is_the_same(language: str) -> None:
    """Flags, settings, environment variables and file names are not translated."""
    typed = re.compile(
        r"(?<!\w)--?[a-z]\w*[\w=.-]*|\b[a-z]+_[a-z_]+\b|\b[A-Z]+_[A-Z_]+\b|\b\w+\.(?:py|bin|pkl|pt|log|txt)\b"
    )

    def names(text: str) -> set[str]:
        return {name.strip(".") for name in typed.findall(text)}

    for key, text in texts("en").items():
        assert names(texts(language)[key]) == names(text), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_translated(language: str) -> None:
    """Words that are the same in both languages stand alone; no text of several words is left in English."""
    same = {key for key, text in texts("en").items() if texts(language)[key] == text and key[:5] != "words"}
    assert {key for key in same if len(re.findall(r"[a-z]{3,}", prose(texts("en")[key]))) > 1} == set()


# --- typography


def raw(language: str) -> str:
    file = resources.files("nanogpt_cli.explain").joinpath("messages", f"{language}.toml")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", languages())
def test_the_files_hold_no_space_that_cannot_be_seen(language: str) -> None:
    assert not re.search("[\u00a0\u2000-\u200b\u202f\u3000\ufeff\t]", raw(language))


def test_french_marks_have_their_space() -> None:
    for key, text in texts("fr").items():
        # A colon inside {exception}: {message} is Python's own; others stand in code or have a space before.
        bare = re.sub(
            r"\{exception\}: |https?:|-100\.00%: |\"[^\"]*\"|\S*\[\S*|print\(\S*", "", prose_of(text)
        )
        assert not re.search(r"[^\s\u202f][;!?](?:\s|$)|[^\s\u202f:]:(?:\s|$)", bare), key
        assert not re.search(r"[ \u00a0][;:!?»]|« ", text), key
        assert "'" not in text or "’" not in text, key


def prose_of(text: str) -> str:
    """A text with its placeholders as plain braces, which are no marks of a sentence."""
    return re.sub(r"\{(\w*)[^}]*\}", r"{\1}", text)


def test_spanish_questions_are_opened() -> None:
    for key, text in texts("es").items():
        assert text.count("¿") == text.count("?"), key
        assert text.count("¡") == text.count("!"), key


def test_chinese_marks_are_full_width() -> None:
    for key, text in texts("zh").items():
        assert not re.search(r"[\u4e00-\u9fff] ?[,;:!?]|[,;!?] ?[\u4e00-\u9fff]", text), key
        assert not re.search(r"[\u4e00-\u9fff]\(|\)[\u4e00-\u9fff]", re.sub(r"p\([^)]*\)", "", text)), key
        assert not re.search(r"\.(?:\s|$)(?!\.)", re.sub(r"_orig_mod\.|module\.|\.\.\.|-h \.", "", text)), key
        # A space between Chinese and Latin letters or digits, none beside the marks.
        assert not re.search(r"[\u4e00-\u9fff][A-Za-z0-9{]|[A-Za-z0-9}%][\u4e00-\u9fff]", text), key
        assert not re.search(r"[，。；：！？、（）] | [，。；：！？、（）]", text), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_decimals_in_the_texts_are_the_language_s(language: str) -> None:
    """The numbers of formulas, 0,9 × …; settings keep the point, for they are typed."""
    for key, text in texts(language).items():
        formulas = re.findall(r"0(.)[19] ×", text)
        assert set(formulas) <= ({"."} if language == "zh" else {","}), key


# --- everything that is shown

ENGLISH = re.compile(
    r"\b(?:the|and|of|is|are|was|were|its|this|that|which|with|from|by|than|when|until|about|have|had|does|been"
    r"|being|will|would|should|could|must|only|less|least|between|before|after|because|while|where|what|who|how"
    r"|iterations?|losses|seconds|hours|warning|problem|findings?|best|last|first|learning|training|validation"
    r"|evaluations?|lines|shown|unknown|none|not|nothing|probably|standard|report|summary)\b"
)
# "validation", "iterations", "train loss" and such stand in the log's own lines; of our words only these are
# spelled alike.
ALIKE = {"fr": {"validation", "standard"}, "es": set[str](), "zh": set[str]()}


def logs() -> list[Log]:
    found = [
        text if isinstance(text, Log) else parse_text(text) for text in (*FIRES.values(), *MORE.values())
    ]
    found += [text if isinstance(text, Log) else parse_text(text) for text in NEAR_MISSES.values()]
    return [*found, parse_text(metrics(falling(4.2, 1.8, 40)))]


def stray(shown: str, explanation: Explanation) -> set[str]:
    """English words in what is shown that are not quoted from the log."""
    quoted = [line.text for line in explanation.lines] + [text for _, text in explanation.log.unread]
    for finding in explanation.findings:
        quoted += [value for value in finding.numbers.values() if isinstance(value, str)]
    for text in sorted(quoted, key=len, reverse=True):
        shown = shown.replace(text, " ")
    shown = re.sub(r'"(?:step N: train loss|saving checkpoint to|Once upon)[^"]*"', " ", shown)
    shown = re.sub(r"[\w.-]*[_=.-][\w.-]*", " ", shown)  # settings, flags, file names
    found = {word for word in ENGLISH.findall(shown) if word not in ALIKE[explanation.language]}
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_english_is_left_in_what_is_shown(language: str) -> None:
    """Every log of the rules' tests, as text, Markdown and page, with all its lines."""
    gpu = accelerator("H100")
    for log in logs():
        first, last = log.runs[-1].first_iter, log.runs[-1].last_iter
        some = None if first is None or last is None else (last - (last - first) // 9, last)
        for lines in (None, some):
            explanation = explain(log, lines=lines, language=language, device=gpu, device_peak=1e14)
            shown = plain_text(explanation, 10_000, unread=True)
            assert stray(shown, explanation) == set(), shown
    page = html_page(explanation)
    assert (
        stray(unescape(re.sub(r"<(?:style|head)>.*?</\w+>|<[^>]*>", "\n", page, flags=re.S)), explanation)
        == set()
    )
    assert stray(markdown(explanation, unread=True), explanation) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_english_is_left_in_the_curves(language: str) -> None:
    explanation = explain_log(FIXTURES / "shakespeare_cpu.log", language=language)
    words, titles = load_catalogue(language), {n: f.title for n, f in enumerate(explanation.findings, 1)}
    shown = [str(entry) for chart in charts(explanation) for entry in legend(chart, words, titles)]
    shown += [words.text("plot", f"chart_{chart.name}") for chart in charts(explanation)]
    assert shown
    assert stray("\n".join(shown), explanation) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_english_is_left_in_a_comparison(language: str) -> None:
    losses = [(4.2, 4.2), (2.0, 2.1), (1.6, 1.8)]
    mine = [parse_text(eval_lines(losses)), parse_text(eval_lines([(a + 0.3, b + 0.3) for a, b in losses]))]
    mine += [parse_text(metrics(falling(4.2, 1.9, 50))), parse_text(iter_lines(falling(4.2, 2.9, 50)))]
    for n, log in enumerate(mine):
        log.source = f"out/{'abcd'[n]}/metrics.jsonl"
    found = compare([explain(log, language=language) for log in mine])
    page = re.sub(r"<(?:style|head)>.*?</\w+>|<[^>]*>", "\n", comparison_page(found), flags=re.S)
    for shown in (comparison_markdown(found), unescape(page)):
        assert stray(shown, found.entries[0].explanation) == set(), shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_causes_of_crashes(language: str) -> None:
    words = load_catalogue(language)
    for cause in ("", *CAUSES):
        numbers = {"exception": "XError", "message": "X"}
        finding = Finding(code="crashed", severity="error", numbers=numbers, variant=cause)
        for part in ("title", "verdict", "message", "advice"):
            shown = re.sub(r"[\w.-]*[_=.-][\w.-]*|\"[^\"]*\"", " ", words.finding(finding, part))
            assert not set(ENGLISH.findall(shown)) - ALIKE[language], f"{cause}.{part}"


def test_sentences_follow_one_another_as_the_language_wants() -> None:
    log = parse_text(eval_lines([(4.2, 4.2), (2.0, 2.1), (1.6, 1.8)]) + iter_lines(falling(4.2, 1.6, 50)))
    chinese, french = (explain(log, language=language) for language in ("zh", "fr"))
    assert not re.search(
        r"。\s", chinese.summary + "".join(text for line in chinese.lines for _, text in line.parts)
    )
    assert not re.search(r"[.!?][A-Z]", french.summary)
    assert "\u202f: " in plain_text(french, 80)
    assert re.search(r"^  说明：", plain_text(chinese, 80), re.M)
    assert "**怎么办**：" in markdown(chinese)


def test_a_change_is_said_in_the_language() -> None:
    words: Catalogue = load_catalogue("fr")
    now = explain_log(FIXTURES / "shakespeare_cpu.log", language="fr")
    change = changes(None, now)[0]
    severity = words.text("words", change.finding.severity)
    line = words.text(
        "follow",
        "new",
        iter=16,
        severity=severity,
        title=change.finding.title,
        message=change.finding.message,
    )
    assert line.startswith("itération 16\u202f: note\u202f: ")


def test_the_page_names_its_language_and_script() -> None:
    tags = {"en": "en", "es": "es", "fr": "fr", "zh": "zh-Hans"}
    for language in languages():
        page = html_page(explain_log(FIXTURES / "shakespeare_cpu.log", language=language))
        assert f'<html lang="{tags[language]}">' in page


def test_json_keeps_numbers_free_of_any_language() -> None:
    log = parse_text(eval_lines([(4.2, 4.2), (2.0, 2.1), (1.6, 1.8)]) + iter_lines(falling(4.2, 1.6, 50)))
    english, french = (explain(log, language=language).to_json() for language in ("en", "fr"))
    for key in ("n_iter_lines", "first_loss", "best_val_loss", "runs", "format"):
        assert english[key] == french[key]

    def bare(document: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {key: f[key] for key in ("code", "severity", "iters", "numbers")} for f in document["findings"]
        ]

    assert bare(english) == bare(french)
    assert english["findings"] != french["findings"], "the messages are in the language"
