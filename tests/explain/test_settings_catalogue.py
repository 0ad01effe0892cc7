"""The words of train --explain: complete in every language, the same placeholders in each, all in use."""

import string

import pytest

from nanogpt_cli.config.schema import GROUPS, SETTINGS
from nanogpt_cli.explain.languages import languages
from nanogpt_cli.explain.settings import PREFIX, settings_catalogue
from tests.explain.dry_run import explain
from tests.explain.test_settings import CASES

ENGLISH = settings_catalogue("en").tables
LANGUAGES = languages(PREFIX)


def placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


def test_there_are_four_languages() -> None:
    assert LANGUAGES == ("en", "es", "fr", "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_in_every_language_with_the_same_placeholders(language: str) -> None:
    tables = settings_catalogue(language).tables
    assert list(tables) == list(ENGLISH)
    for section, texts in ENGLISH.items():
        assert list(tables[section]) == list(texts), section
        for key, text in texts.items():
            assert placeholders(tables[section][key]) == placeholders(text), f"{section}.{key}"


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_sentences_are_translated(language: str) -> None:
    tables = settings_catalogue(language).tables
    same = [
        f"{section}.{key}"
        for section, texts in ENGLISH.items()
        for key, text in texts.items()
        if section in SETTINGS and tables[section][key] == text
    ]
    assert same == []


def test_every_setting_and_group_has_words() -> None:
    assert set(SETTINGS) <= set(ENGLISH)
    assert set(ENGLISH["groups"]) == set(GROUPS)
    assert set(ENGLISH) == set(SETTINGS) | {"words", "origins", "groups", "units", "forecast"}


def test_every_sentence_is_reached() -> None:
    """So that each text is filled at least once in the tests, and none lies there unused."""
    told: dict[str, set[str]] = {name: {"meaning"} for name in SETTINGS}
    for name, _, _, keys in CASES:
        told[name] |= {key.rstrip("!") for key in keys.split()}
    assert {
        name: set(ENGLISH[name]) - keys for name, keys in told.items() if set(ENGLISH[name]) != keys
    } == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_case_in_every_language(language: str) -> None:
    for _, forecast, settings, _ in CASES:
        explanation = explain(language, forecast, **settings)
        for text in (
            *(row.effect for row in explanation.settings),
            *(text for _, text in explanation.forecast_rows),
        ):
            assert text.strip()
            assert "{" not in text


def test_numbers_are_written_as_the_language_does() -> None:
    rows = {language: dict(explain(language).forecast_rows) for language in LANGUAGES}
    texts = {language: "\n".join(found.values()) for language, found in rows.items()}
    assert "804,096" in texts["en"]
    assert "804,096" in texts["zh"]
    assert "804\u202f096" in texts["es"]
    assert "804\u202f096" in texts["fr"]
    assert "49.6%" in texts["en"]
    assert "49,6\u202f%" in texts["es"]
    assert "49,6\u202f%" in texts["fr"]
    assert "3.07 MiB" in texts["en"]
    assert "3,07\u202fMio" in texts["fr"]
