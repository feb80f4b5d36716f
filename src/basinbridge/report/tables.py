"""The table of a report: average, minimum, loss and barrier along each path."""

from typing import TYPE_CHECKING, Any

from basinbridge.report.caption import (
    describe_attack,
    describe_run,
    describe_subject,
    describe_training,
    mean_and_spread,
)
from basinbridge.report.load import all_pairs, is_robust, present_paths

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80

# Entry of a path, its column's heading, what turns it into the heading's unit, decimals.
_COLUMNS = (
    ("average_accuracy", "average\naccuracy %", 100.0, 1),
    ("minimum_accuracy", "minimum\naccuracy %", 100.0, 1),
    ("average_loss", "average\nloss, nats", 1.0, 3),
    ("barrier", "barrier,\nnats", 1.0, 3),
)

_TITLES = {"": "path", "robust_": "under attack"}


def print_table(report: dict[str, Any], console: "Console | None" = None) -> None:
    """Print the table with rich, fit for 80 columns; plain text if not at a terminal.

    Args:
        report: what `read_report` returns.
        console: where to print; standard output by default.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = console or Console()
    plus_minus = "+-" if out.options.ascii_only else "±"
    tables = []
    for kind in _kinds(report):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column(_TITLES[kind], no_wrap=True)
        for _, heading, _, _ in _COLUMNS:
            table.add_column(heading, justify="right")
        for cells in _rows(report, plus_minus, kind):
            table.add_row(*cells)
        tables.append(table)
    # As Text, a name with brackets in it is no markup.
    subject = describe_subject(report)
    if subject:
        out.print(Text(subject))
    for table in tables:
        out.print(table)
        out.print()
    for line in _lines_below(report, plus_minus):
        out.print(Text(line))


def markdown_table(report: dict[str, Any]) -> str:
    """Write the same table as Markdown, ending in a newline."""
    tables = []
    for kind in _kinds(report):
        headings = [_TITLES[kind], *(heading.replace("\n", " ") for _, heading, _, _ in _COLUMNS)]
        lines = [headings, ["---", *("---:" for _ in _COLUMNS)], *_rows(report, "±", kind)]
        tables.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    table = "\n\n".join(tables)
    subject = describe_subject(report)
    below = [subject, *_lines_below(report, "±")] if subject else _lines_below(report, "±")
    return table + "\n\n" + "  \n".join(below) + "\n"


def count_aligned_ahead(report: dict[str, Any]) -> tuple[int, int]:
    """Count the pairs whose aligned curve has the higher minimum accuracy, and all that have both.

    A tie is not ahead.
    """
    compared = [
        (pair["curve_aligned"]["minimum_accuracy"], pair["curve_unaligned"]["minimum_accuracy"])
        for pair in all_pairs(report)
        if "curve_aligned" in pair and "curve_unaligned" in pair
    ]
    return sum(aligned > unaligned for aligned, unaligned in compared), len(compared)


def _kinds(report: dict[str, Any]) -> list[str]:
    """What entries' names begin with: nothing, and `robust_` for scores under attack."""
    return ["", "robust_"] if is_robust(report) else [""]


def _rows(report: dict[str, Any], sign: str, kind: str) -> list[list[str]]:
    pairs = all_pairs(report)
    return [
        [path.replace("_", " ")]
        + [
            mean_and_spread([scale * pair[path][kind + entry] for pair in pairs], digits, sign)
            for entry, _, scale, digits in _COLUMNS
        ]
        for path in present_paths(report)
    ]


def _lines_below(report: dict[str, Any], sign: str) -> list[str]:
    pairs = all_pairs(report)
    lines = []
    for kind in _kinds(report):
        accuracies, losses = (
            " and ".join(
                mean_and_spread(
                    [scale * pair["endpoints"][end][kind + entry] for pair in pairs], digits, sign
                )
                for end in ("start", "end")
            )
            for entry, scale, digits in (("accuracy", 100.0, 1), ("loss", 1.0, 3))
        )
        under_attack = " under attack" if kind else ""
        lines.append(f"endpoints{under_attack}: {accuracies} %; {losses} nats")
    ahead, compared = count_aligned_ahead(report)
    if compared > 1:
        lines.append(
            f"aligned ahead in {ahead} of {compared} pairs (minimum accuracy along the curve)"
        )
    if len(pairs) > 1:
        lines.append(f"values are mean {sign} sample standard deviation over the pairs")
    described = describe_training(report), describe_attack(report), describe_run(report)
    return lines + [line for text in described if text for line in _broken(text)]


def _broken(text: str) -> list[str]:
    """A text in lines of at most 80 characters, broken behind semicolons."""
    lines: list[str] = []
    for part in text.split("; "):
        if lines and len(f"{lines[-1]}; {part}") < WIDTH:
            lines[-1] += f"; {part}"
        else:
            lines.append(part)
    return [f"{line};" for line in lines[:-1]] + lines[-1:]
