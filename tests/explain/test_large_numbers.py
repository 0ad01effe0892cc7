"""Billions as people say them, in four languages: no 7.13e+05, no ten digits in a row."""

import re

import pytest

from nanogpt_cli.explain.numbers import NumberFormatter

LANGUAGES = ("en", "es", "fr", "zh")
GPT2_XL = 1_557_611_200


def said(language: str, value: float, spec: str) -> str:
    """With ordinary spaces."""
    return re.sub(r"\s", " ", NumberFormatter(language).format_field(value, spec))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (713_000.0, ("713,000", "713 000", "713 000", "713,000")),
        (5.17e6, ("5.17 million", "5,17 millones", "5,17 millions", "517 万")),
        (1.0e6, ("1.00 million", "1,00 millón", "1,00 million", "100 万")),
        (1.9e6, ("1.90 million", "1,90 millones", "1,90 million", "190 万")),
        (999_999.0e3, ("1.00 billion", "1,00 mil millones", "1,00 milliard", "10.0 亿")),
        (GPT2_XL, ("1.56 billion", "1,56 mil millones", "1,56 milliard", "15.6 亿")),
        (3.14e11, ("314 billion", "314 mil millones", "314 milliards", "3,140 亿")),
        (7.94e12, ("7.94 trillion", "7,94 billones", "7,94 mille milliards", "7.94 万亿")),
        (2.944e21, ("2.94 × 10^21", "2,94 × 10^21", "2,94 × 10^21", "2.94 × 10^21")),
    ],
)
def test_amounts(value: float, expected: tuple[str, ...]) -> None:
    assert tuple(said(language, value, "amount") for language in LANGUAGES) == expected


def test_a_count_is_exact_below_a_billion_and_joins_the_noun_after_it() -> None:
    assert [said(language, 124_337_664, "count-of") for language in LANGUAGES] == [
        "124,337,664",
        "124 337 664",
        "124 337 664",
        "124,337,664",
    ]
    assert [said(language, GPT2_XL, "count-of") for language in LANGUAGES] == [
        "1.56 billion",
        "1,56 mil millones de",
        "1,56 milliard de",
        "15.6 亿",
    ]
    assert said("es", 3e21, "count-of") == "3,00 × 10^21"


def test_short_ones() -> None:
    assert [said(language, GPT2_XL, "short") for language in LANGUAGES] == [
        "1.56B",
        "1,56 mil M",
        "1,56 Md",
        "15.6 亿",
    ]
    assert [said(language, 10_650_000, "short") for language in LANGUAGES] == [
        "10.65M",
        "10,65 M",
        "10,65 M",
        "10.65M",
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_size_is_said_with_few_digits(language: str) -> None:
    for exponent in range(6, 24):
        for digits in (1.0, 1.5, 3.336, 9.9949, 9.9951, 9.99999):
            for spec in ("amount", "count-of", "short"):
                text = said(language, digits * 10.0**exponent, spec)
                assert "e+" not in text
                if exponent >= 9:
                    assert 3 <= sum(map(str.isdigit, text.partition("×")[0])) <= 4, text
