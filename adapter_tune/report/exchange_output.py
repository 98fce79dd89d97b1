"""What the commands print about exports and imports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adapter_tune.report.terminal import show

if TYPE_CHECKING:
    from adapter_tune.exchange.formats import Compared, Exported
    from adapter_tune.run_files.result import ImportedRun


def show_import(record: ImportedRun) -> None:
    """Print what was imported, and the notes on the conversion."""
    from adapter_tune.strategies import described

    rows = [
        ["from", record.imported_from],
        ["task", record.task],
        ["strategy", described(record.config["strategy"])],
        ["backbone", record.model.id],
        ["parameters", f"{record.parameters.trained:,}"],
        ["folder", record.storage.folder],
    ]
    show("imported", ["", ""], rows)
    for text in record.warnings:
        print(f"note: {text}")


def show_export(exported: Exported, output: Path) -> None:
    """Print what was written, what was checked, and what does not carry over."""
    if exported.compared:
        _show_compared(exported.compared)
    for fact in exported.facts:
        print(fact)
    for note in exported.notes:
        print(f"warning: {note}")
    print(f"exported to {output}")


def _show_compared(models: list[Compared]) -> None:
    """A line for each model: its size, its speed, and its scores beside those of the first one."""
    first = models[0]
    columns = [(split, metric) for split, scores in first.scores.items() for metric in scores]
    header = ["model", "MB", "rows/s", "speed", *(f"{metric} ({split})" for split, metric in columns)]
    rows = []
    for model in models:
        scores = [f"{model.scores[split][metric]:.4f}" for split, metric in columns]
        ratio = model.rows_per_second / first.rows_per_second
        rows.append([model.name, f"{model.bytes / 1e6:,.1f}", f"{model.rows_per_second:,.1f}", f"{ratio:.2f}", *scores])
    show("compared on this machine", header, rows)
