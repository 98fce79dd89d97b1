"""A table with a title and notes, written as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from adapter_tune.foundation import atomic_files

_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": "-", "^": r"\^{}"}


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and the relative path that it links to."""

    text: str
    link: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Grid:
    """A table; its first column names the rows."""

    name: str
    """The name of its files, without suffix."""
    title: str
    header: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        alignment = ["---"] + ["--:"] * (len(self.header) - 1)
        lines = [f"**{self.title}**", "", _markdown_row(self.header), _markdown_row(alignment)]
        lines += [_markdown_row([cell.text.replace("|", "/") for cell in row]) for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]).rstrip() + "\n"

    def to_latex(self) -> str:
        """Return the table for the LaTeX package ``booktabs``."""
        lines = [f"% {note}" for note in (self.title, *self.notes)]
        columns = "l" + "r" * (len(self.header) - 1)
        lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(self.header), r"\midrule"]
        lines += [_latex_row([cell.text for cell in row]) for row in self.rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"

    def to_csv(self) -> str:
        """Return the table as CSV with a header line."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows([cell.text for cell in row] for row in self.rows)
        return file.getvalue()

    def save(self, folder: Path) -> list[Path]:
        """Write the table as ``.md``, ``.tex`` and ``.csv`` into a folder; return the files."""
        texts = {".md": self.to_markdown(), ".tex": self.to_latex(), ".csv": self.to_csv()}
        files = []
        for suffix, text in texts.items():
            file = folder / f"{self.name}{suffix}"
            atomic_files.write_text(file, text)
            files.append(file)
        return files


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_row(cells: list[str]) -> str:
    escaped = ["".join(_TEX.get(letter, letter) for letter in cell) for cell in cells]
    return " & ".join(escaped) + r" \\"
