"""The language that is chosen, and numbers as it writes them."""

import locale

import pytest

from nanogpt_cli.errors import UsageError
from nanogpt_cli.explain import languages as chooser
from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.languages import choose_language, languages
from nanogpt_cli.explain.numbers import NumberFormatter, with_fixed_spaces

# --- which language


def test_four_languages() -> None:
    assert languages() == ("en", "es", "fr", "zh")


@pytest.mark.parametrize(
    ("name", "language"),
    [
        *[(name, "es") for name in ("es", "es_MX.UTF-8", "es-419", "es@euro", "Spanish_Spain.1252")],
        *[(name, "fr") for name in ("fr_CA", " FR ", "French_France.1252", "français")],
        *[(name, "zh") for name in ("zh_CN.UTF-8", "zh-Hans-CN", "zh_TW", "Chinese_China.936", "中文")],
        *[(name, "en") for name in ("en_US", "English")],
        ("español", "es"),
    ],
)  # fmt: skip
def test_the_names_of_a_language(name: str, language: str) -> None:
    assert choose_language(name, {}) == language
    assert choose_language("", {"NANOGPT_LANG": name}) == language
    assert choose_language("", {"LC_ALL": name.strip(), "LANG": "de"}) == language


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LC_ALL": "fr_FR.UTF-8", "LC_MESSAGES": "es_ES", "LANG": "zh_CN"}, "fr"),
        ({"LC_MESSAGES": "es_ES", "LANG": "zh_CN"}, "es"),
        ({"LC_ALL": "", "LC_MESSAGES": "", "LANG": "zh_CN"}, "zh"),
        ({"LC_ALL": "C", "LANG": "fr_FR"}, "en"),
        ({"LC_ALL": "C.UTF-8", "LANG": "fr_FR"}, "en"),
        ({"LC_ALL": "POSIX"}, "en"),
        ({"LANG": "pt_BR.UTF-8"}, "en"),
        ({"NANOGPT_LANG": "zh", "LC_ALL": "fr_FR"}, "zh"),
    ],
)
def test_the_environment_in_its_order(environment: dict[str, str], language: str) -> None:
    assert choose_language("", environment) == language


def test_what_was_typed_goes_before_everything() -> None:
    assert choose_language("es", {"NANOGPT_LANG": "zh", "LC_ALL": "fr_FR"}) == "es"
    with pytest.raises(UsageError, match="--lang: there is no language 'de', only en, es, fr, zh"):
        choose_language("de", {"LC_ALL": "fr_FR"})


def test_the_system_where_no_variable_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser, "_windows", lambda: None)
    monkeypatch.setattr(locale, "getlocale", lambda: ("fr_FR", "UTF-8"))
    assert choose_language("", {}) == "fr"
    monkeypatch.setattr(locale, "getlocale", lambda: (None, None))
    assert choose_language("", {}) == "en"


@pytest.mark.parametrize(("number", "language"), [(0x0C0A, "es"), (0x0804, "zh"), (0x0416, "en"), (-1, "en")])
def test_the_display_language_of_windows(monkeypatch: pytest.MonkeyPatch, number: int, language: str) -> None:
    class Kernel:
        @staticmethod
        def GetUserDefaultUILanguage() -> int:
            return number

    class Windows:
        kernel32 = Kernel

    monkeypatch.setattr(chooser, "_windows", lambda: Windows)
    assert choose_language("", {}) == language
    assert choose_language("", {"LANG": "fr_FR"}) == "fr", "Git Bash and the like set it"


# --- numbers


@pytest.mark.parametrize(
    ("template", "value", "en", "es", "fr"),
    [
        ("{x:.4f}", 1.46971, "1.4697", "1,4697", "1,4697"),
        ("{x:,}", 1234, "1,234", "1234", "1 234"),
        ("{x:,}", 12345, "12,345", "12 345", "12 345"),
        ("{x:,.2f}", 1234567.891, "1,234,567.89", "1 234 567,89", "1 234 567,89"),
        ("{x:,.1f}", -1234.56, "-1,234.6", "-1234,6", "-1 234,6"),
        ("{x:,.0f}", 999.6, "1,000", "1000", "1 000"),
        ("{x:.1%}", 0.1234, "12.3%", "12,3 %", "12,3 %"),
        ("{x:,.2f}", float("inf"), "∞", "∞", "∞"),
        ("{x:.4f}", float("nan"), "NaN", "NaN", "NaN"),
        # What is to be typed, or is written as a machine writes it, stays.
        ("--max_iters={x}", 12345, "--max_iters=12345", "--max_iters=12345", "--max_iters=12345"),
        ("{x:.1e}", 6e-4, "6.0e-04", "6.0e-04", "6.0e-04"),
        ("{x:g}", 0.5, "0.5", "0.5", "0.5"),
        ("{x}", "iter 10: loss 1.2", *["iter 10: loss 1.2"] * 3),
        ("{x:size}", "6.14 GiB", "6.14 GiB", "6,14 GiB", "6,14 Gio"),
        ("{x:size}", "512.00 MB", "512.00 MB", "512,00 MB", "512,00 Mo"),
        ("{x:size}", "much", "much", "much", "much"),
    ],
)  # fmt: skip
def test_numbers(template: str, value: float | str, en: str, es: str, fr: str) -> None:
    for language, expected in (("en", en), ("zh", en), ("es", es), ("fr", fr)):
        text = NumberFormatter(language).fill(template, {"x": value})
        assert text.replace("\u202f", " ").replace("\u00a0", " ") == expected, language
        if language in ("es", "fr") and "{x:" in template:
            assert " " not in text, "a line may end at an ordinary space"


def test_a_missing_number_is_an_error() -> None:
    with pytest.raises(KeyError):
        NumberFormatter("fr").fill("{there} {missing}", {"there": 1})


@pytest.mark.parametrize(
    ("language", "seconds", "text"),
    [
        ("en", 12300, "3 h 25 min"),
        ("es", 12300, "3 h 25 min"),
        ("fr", 187200, "2 j 4 h"),
        ("zh", 12300, "3 小时 25 分钟"),
        ("zh", 750, "12 分 30 秒"),
        ("zh", 7, "7 秒"),
        ("zh", 187200, "2 天 4 小时"),
    ],
)
def test_durations(language: str, seconds: float, text: str) -> None:
    assert load_catalogue(language).duration(seconds).replace("\u202f", " ") == text


def test_no_space_between_two_chinese_words() -> None:
    chinese = NumberFormatter("zh")
    assert chinese.fill("用 {trainer} 训练", {"trainer": "nanoGPT"}) == "用 nanoGPT 训练"
    assert chinese.fill("用 {trainer} 训练", {"trainer": "自写循环"}) == "用自写循环训练"
    assert chinese.fill("{time} 之后，{name}", {"time": "3 小时", "name": "a b"}) == "3 小时之后，a b"
    with pytest.raises(KeyError):
        chinese.fill("{there} {missing}", {"there": 1})


# --- spaces at which no line may end


def test_french_marks_and_units() -> None:
    fixed = with_fixed_spaces("« Non » : 5 ms, {p:.1f} % ; pourquoi ? 16 384 tokens, 312 TFLOP/s !", "fr")
    expected = "«_Non_»_: 5_ms, {p:.1f}_%_; pourquoi_? 16_384 tokens, 312_TFLOP/s_!"
    assert fixed == expected.replace("_", "\u202f")


def test_commands_keep_their_spaces() -> None:
    for command in (
        "python train.py ... 2>&1 | tee train.log",
        "nvidia-smi -q -d CLOCK,TEMPERATURE,PERFORMANCE",
        "nanogpt prepare input.txt --val-fraction 0.2",
        'open(path, encoding="utf-8")',
        "--lr_decay_iters=2000 --warmup_iters=100",
    ):
        assert with_fixed_spaces(command, "fr") == command
        assert with_fixed_spaces(command, "es") == command


def test_english_and_chinese_have_other_marks() -> None:
    text = "5 ms : 12 345 ; {x} token"
    assert with_fixed_spaces(text, "en") == text
    assert with_fixed_spaces(text, "zh") == text.replace("5 ms", "5\u00a0ms")
