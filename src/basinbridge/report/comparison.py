"""Our Table 1 beside the paper's, for a terminal of 80 columns."""

from typing import TYPE_CHECKING

from basinbridge.report.caption import mean_and_spread
from basinbridge.report.run import Run, difference, final_losses, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console


def print_comparison(run: Run, console: "Console | None" = None) -> None:
    """Print a table for every case whose curves are measured, and the losses of Table 2."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = console or Console()
    for case in run.cases:
        pairs = f"{len(case.seeds)} pair{'s' if len(case.seeds) > 1 else ''}"
        heading = f"{case.exhibit}: {case.case.name}, {pairs}"
        for kind in case.kinds if case.shows("paths") else ():
            rows = rows_of(case, kind)
            if not rows:
                continue
            out.print(Text(f"{heading}; test accuracy{' under attack' if kind else ''}, %"))
            table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
            table.add_column("curve", no_wrap=True)
            for column in ("average", "paper", "", "minimum", "paper", ""):
                table.add_column(column, justify="right", no_wrap=True)
            for row in rows:
                published = row.paper
                cells = [
                    *_cells(row.average, published.average if published else None),
                    *_cells(row.minimum, published.minimum if published else None),
                ]
                table.add_row(Text(row.title), *cells)
            out.print(table)
            out.print()
        if case.exhibit == "table2":
            out.print(Text(f"{heading}; training loss of the last epoch, nats"))
            for method, title in case.methods.items():
                losses = final_losses(case, method)
                if losses:
                    out.print(Text(f"  {title:<24}{mean_and_spread(losses, 3)}"))
            out.print()


def _cells(values: "Sequence[float] | None", paper: "tuple[float, float] | None") -> list[str]:
    """Our value, the paper's, and the difference."""
    if values is None:
        return ["", "", ""]
    ours = mean_and_spread(values, 1)
    if paper is None:
        return [ours, "", ""]
    return [ours, f"{paper[0]:.1f}", f"{difference(values, paper[0]):+.1f}"]
