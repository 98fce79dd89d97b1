"""A table with a title and notes, in the formats that people paste: Markdown, LaTeX, CSV, HTML."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import dataclass, field
from pathlib import Path

from adapter_tune.foundation import atomic_files

_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": "-", "^": r"\^{}"}


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, and where it leads to."""

    text: str
    link: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Grid:
    """A table."""

    name: str
    """Of its files."""
    title: str
    header: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)

    def to_markdown(self) -> str:
        """GitHub's."""
        lines = [f"**{self.title}**", "", _bar(self.header), _bar(["---"] + ["--:"] * (len(self.header) - 1))]
        lines += [_bar([cell.text.replace("|", "/") for cell in row]) for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]).rstrip() + "\n"

    def to_latex(self) -> str:
        """For ``booktabs``."""

        def line(cells: list[str]) -> str:
            return " & ".join("".join(_TEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"

        body = [line([cell.text for cell in row]) for row in self.rows]
        notes = [f"% {note}" for note in (self.title, *self.notes)]
        columns = "l" + "r" * (len(self.header) - 1)
        lines = [*notes, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(self.header), r"\midrule"]
        return "\n".join([*lines, *body, r"\bottomrule", r"\end{tabular}"]) + "\n"

    def to_csv(self) -> str:
        """With a header."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(
            [self.header, *([cell.text for cell in row] for row in self.rows)]
        )
        return file.getvalue()

    def to_html(self) -> str:
        """A table in a box of its own that scrolls on a small screen."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.header)
        body = "".join(f"<tr>{''.join(map(_td, row))}</tr>" for row in self.rows)
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f"<h3>{html.escape(self.title)}</h3><div class=wide><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>" + (f"<ul class=notes>{notes}</ul>" if notes else "")
        )

    def save(self, folder: Path) -> list[Path]:
        """Write all formats but HTML; the files."""
        texts = {".md": self.to_markdown(), ".tex": self.to_latex(), ".csv": self.to_csv()}
        for ending, text in texts.items():
            atomic_files.write_text(folder / f"{self.name}{ending}", text)
        return [folder / f"{self.name}{ending}" for ending in texts]


def _bar(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _td(cell: Cell) -> str:
    text = html.escape(cell.text)
    return f'<td><a href="{html.escape(cell.link, quote=True)}">{text}</a></td>' if cell.link else f"<td>{text}</td>"
