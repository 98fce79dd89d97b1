"""Tables on the terminal; where the output is no terminal, aligned columns without control codes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

Rows = Sequence[Sequence[str]]


def show(title: str, header: Sequence[str], rows: Rows, console: Console | None = None) -> None:
    """Print rows under a header.

    Args:
        title: printed above the table.
        header: names of the columns; empty names for a list of facts.
        rows: cells; columns of numbers are aligned to the right.
        console: the console to print to; standard output by default.
    """
    console = console or Console(highlight=False, markup=False, emoji=False)
    is_right_aligned = [all(_is_number(row[i]) for row in rows if row[i]) for i in range(len(header))]
    if console.is_terminal:
        _print_table(title, header, rows, is_right_aligned, console)
    else:
        _print_columns(title, header, rows, is_right_aligned)


def _print_table(title: str, header: Sequence[str], rows: Rows, is_right_aligned: list[bool], console: Console) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=any(header))
    for name, is_right in zip(header, is_right_aligned, strict=True):
        table.add_column(name, justify="right" if is_right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_columns(title: str, header: Sequence[str], rows: Rows, is_right_aligned: list[bool]) -> None:
    lines = [list(header), *rows] if any(header) else list(rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    print(title)
    for line in lines:
        cells = []
        for cell, width, is_right in zip(line, widths, is_right_aligned, strict=True):
            cells.append(cell.rjust(width) if is_right else cell.ljust(width))
        print("  " + "  ".join(cells).rstrip())


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("-", "").isdigit() or cell == "-"
