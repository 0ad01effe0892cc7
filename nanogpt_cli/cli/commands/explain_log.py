"""`nanogpt explain-log`: parse, explain, and show: panels, plain text, JSON, Markdown, curves, a page."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nanogpt_cli.cli import console
from nanogpt_cli.cli.explain_choices import (
    iteration_range,
    named_device,
    newest_source,
    next_command,
    one_form,
    positive_peak,
    refuse_flags,
)
from nanogpt_cli.cli.options import JsonOption, QuietOption
from nanogpt_cli.cli.page_file import check_page, write_page
from nanogpt_cli.errors import NanoGPTError, UsageError

if TYPE_CHECKING:
    from nanogpt_cli.explain.report import Explanation

_MARKDOWN_WIDTH = 80  # a code block in an issue does not wrap

_LINES, _SHOW = "Lines", "How it is shown"


def explain_log_command(
    logs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LOG|RUN_DIR|-",
            help="A log file, a run directory, or - for standard input; the newest run if left out. "
            "Several are compared.",
            show_default=False,
        ),
    ] = None,
    lines: Annotated[
        str,
        typer.Option(
            "--lines",
            metavar="A-B",
            rich_help_panel=_LINES,
            help="Explain the lines of these iterations: 4980-5000.",
        ),
    ] = "",
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="ITER", rich_help_panel=_LINES, help="Explain the lines of one iteration."
        ),
    ] = "",
    every: Annotated[
        int,
        typer.Option(
            "--every", metavar="N", min=1, rich_help_panel=_LINES, help="Of these, each N-th iteration."
        ),
    ] = 1,
    gpu: Annotated[
        str,
        typer.Option(
            "--gpu",
            metavar="NAME",
            rich_help_panel=_LINES,
            help="Give MFU also of this GPU: H100, RTX 4090.",
        ),
    ] = "",
    device_peak: Annotated[
        float | None,
        typer.Option(
            "--device-peak",
            metavar="FLOPS",
            rich_help_panel=_LINES,
            help="Give MFU also of a device with this peak, in FLOP/s: 312e12.",
            show_default=False,
        ),
    ] = None,
    unread: Annotated[
        bool,
        typer.Option(
            "--unread", rich_help_panel=_LINES, help="Show the first lines that were not understood."
        ),
    ] = False,
    language: Annotated[
        str,
        typer.Option(
            "--lang",
            metavar="LANG",
            rich_help_panel=_SHOW,
            help="en, es, fr, zh [default: NANOGPT_LANG, else the locale's]".replace("[", "\\["),
        ),
    ] = "",
    plot: Annotated[
        bool, typer.Option("--plot", rich_help_panel=_SHOW, help="Draw the loss curve in the terminal.")
    ] = False,
    html: Annotated[
        str,
        typer.Option(
            "--html",
            metavar="FILE",
            rich_help_panel=_SHOW,
            help="Write one self-contained page with all curves; - for standard output.",
        ),
    ] = "",
    markdown: Annotated[
        bool,
        typer.Option("--markdown", rich_help_panel=_SHOW, help="Print Markdown, to paste into an issue."),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            rich_help_panel=_SHOW,
            help="Keep the verdict current while the log grows, until the run ends or Ctrl-C.",
        ),
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Explain a training log: what happened, what each number means, what to do next."""
    from nanogpt_cli.explain.languages import choose_language
    from nanogpt_cli.explain.report import explain_log

    one_form(json=json, markdown=markdown, plot=plot, html=html)
    if html:
        check_page(html)
    if lines and at:
        raise UsageError("--lines and --at both say which iterations", f"give one of them: --lines {lines}")
    spoken = choose_language(language)
    wanted = iteration_range(lines or at, "--lines" if lines else "--at") if lines or at else None
    about_lines = {"lines": lines, "at": at, "every": every > 1, "gpu": gpu, "device-peak": device_peak}
    if logs and len(logs) > 1:
        refuse_flags("several logs", unread=unread, follow=follow, **about_lines)
        _compare(logs, language=spoken, json=json, markdown=markdown, plot=plot, html=html, quiet=quiet)
        return
    source = logs[0] if logs else newest_source(language=spoken, quiet=quiet or json)
    if follow:
        refuse_flags("a growing log", unread=unread, markdown=markdown, **about_lines)
        if html == "-":
            raise UsageError(
                "--html - writes one page, --follow one after another", "name a file: --html report.html"
            )
        _follow(source, language=spoken, plot=plot, html=html, json=json, quiet=quiet)
        return
    explanation = explain_log(
        source,
        lines=wanted,
        every=every,
        device=named_device(gpu),
        device_peak=positive_peak(device_peak),
        language=spoken,
    )
    if json:
        console.print_json({**explanation.to_json(), **(_unread_document(explanation) if unread else {})})
    _refuse_no_log(explanation)
    if html:
        _write_page(explanation, html, quiet=quiet or json)
    if json or html == "-":
        return
    _show(explanation, markdown=markdown, plot=plot, unread=unread)
    console.next_step(next_command(explanation), quiet=quiet)


def _refuse_no_log(explanation: "Explanation") -> None:
    """What holds no training is an error, for people and for scripts."""
    from nanogpt_cli.explain.report import NOT_EXPLAINABLE

    first = explanation.findings[0] if explanation.findings else None
    if first is not None and first.code in NOT_EXPLAINABLE:
        name = "standard input" if explanation.source == "-" else explanation.source
        raise NanoGPTError(f"{name}: {first.message[:1].lower()}{first.message[1:]}", first.advice)


def _follow(source: str, *, language: str, plot: bool, html: str, json: bool, quiet: bool) -> None:
    from nanogpt_cli.cli import explain_screen, follow_screen
    from nanogpt_cli.explain.show.page import html_page

    def page(explanation: "Explanation") -> None:
        write_page(html_page(explanation), html, language=language, quiet=True)

    last = follow_screen.follow(
        source, language=language, plot=plot, as_json=json, quiet=quiet, write_page=page if html else None
    )
    if html:
        page(last)
    if json:
        follow_screen.write_json_line(last)
    _refuse_no_log(last)
    if json:
        return
    stdout = explain_screen.stdout_console()
    if plot or explain_screen.is_rich(stdout):  # in a pipe the lines have said it
        explain_screen.show(last, plot=plot)
    console.next_step(next_command(last), quiet=quiet)


def _compare(
    logs: list[str], *, language: str, json: bool, markdown: bool, plot: bool, html: str, quiet: bool
) -> None:
    from nanogpt_cli.explain.compare import compare, comparison_document
    from nanogpt_cli.explain.report import explain_log

    if logs.count("-") > 1:
        raise UsageError("standard input can be read only once", "nanogpt explain-log A.log B.log")
    comparison = compare([explain_log(log, language=language) for log in logs])
    if html:
        from nanogpt_cli.explain.show.comparison_page import comparison_page

        write_page(comparison_page(comparison), html, language=language, quiet=quiet or json)
    if json:
        console.print_json(comparison_document(comparison))
    elif html == "-":
        return
    elif markdown:
        from nanogpt_cli.cli.compare_screen import comparison_plots
        from nanogpt_cli.explain.show.comparison_markdown import comparison_markdown

        curves = comparison_plots(comparison, _MARKDOWN_WIDTH) if plot else ()
        sys.stdout.write(comparison_markdown(comparison, plots=curves))
        sys.stdout.flush()
    else:
        from nanogpt_cli.cli.compare_screen import show_comparison

        show_comparison(comparison, plot=plot)
        winners = (
            g.members[s.winner] for g in comparison.groups for s in g.standings if s.winner is not None
        )
        best = next(winners, 0)
        console.next_step(f"nanogpt explain-log {shlex.quote(str(logs[best]))}", quiet=quiet)


# --- output


def _show(explanation: "Explanation", *, markdown: bool, plot: bool, unread: bool) -> None:
    from nanogpt_cli.cli import explain_screen

    if not markdown:
        explain_screen.show(explanation, plot=plot, unread=unread)
        return
    from nanogpt_cli.explain.show.markdown import markdown as in_markdown

    curves = explain_screen.plot_lines(explanation, _MARKDOWN_WIDTH) if plot else ()
    sys.stdout.write(in_markdown(explanation, plot=curves, unread=unread))
    sys.stdout.flush()


def _unread_document(explanation: "Explanation") -> dict[str, object]:
    return {"unread": [{"line": number, "text": text} for number, text in explanation.log.unread]}


def _write_page(explanation: "Explanation", target: str, *, quiet: bool) -> None:
    from nanogpt_cli.explain.show.page import html_page

    write_page(html_page(explanation), target, language=explanation.language, quiet=quiet)
