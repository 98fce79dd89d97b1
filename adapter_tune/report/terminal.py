"""Tables on the terminal, and the same as plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from adapter_tune.adapters.formula import Formula, ParameterCount
    from adapter_tune.run_files.ablation_result import Ablation
    from adapter_tune.run_files.result import Result
    from adapter_tune.strategies import Strategy

Rows = Sequence[Sequence[str]]


def show(title: str, header: Sequence[str], rows: Rows, console: Console | None = None) -> None:
    """Print rows under a header: a table on a terminal, aligned columns without control codes elsewhere.

    Args:
        title: printed above.
        header: names of the columns; empty names for a list of facts.
        rows: cells; columns of numbers are aligned to the right.
        console: standard output by default.
    """
    console = console or Console(highlight=False, markup=False, emoji=False)
    right = [all(_is_number(row[i]) for row in rows if row[i]) for i in range(len(header))]
    if console.is_terminal:
        from rich.table import Table

        table = Table(title=title, title_justify="left", show_header=any(header))
        for name, is_right in zip(header, right, strict=True):
            table.add_column(name, justify="right" if is_right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    lines = [list(header), *rows] if any(header) else list(rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    print(title)
    for line in lines:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        print("  " + "  ".join(cells).rstrip())


def show_result(result: Result) -> None:
    """The table at the end of a run."""
    from adapter_tune.run_files.result import COLLAPSED

    p, s = result.parameters, result.speed
    groups = ", ".join(f"{name} {size:,}" for name, size in p.groups.model_dump().items() if size)
    scores = [
        [f"{name} ({split})", f"{value:.4f}"] for split, row in result.scores.items() for name, value in row.items()
    ]
    rows = [
        ["task", result.task],
        ["strategy", result.strategy],
        ["m", _text(result.config["strategy"].get("m"))],
        ["backbone", result.model.id],
        *scores,
        ["headline", f"{result.headline.metric} {result.headline.value:.4f} on {result.headline.split}"],
        ["per adapter, by formula", _integer(p.formula // p.adapter_count if p.formula else None)],
        ["adapters", _integer(p.adapter_count)],
        ["trained", f"{p.trained:,} ({groups})"],
        ["  of the unadapted model", f"{p.trained_percent:.2f} %"],
        ["  of its encoder layers", f"{p.trained_percent_encoder:.2f} %"],
        ["training", _rate(s.train_examples_per_second)],
        ["evaluation", _rate(s.eval_examples_per_second)],
        ["peak memory", _bytes(s.peak_memory_bytes)],
        ["saved adapter", _bytes(result.storage.adapter_bytes)],
        ["folder", result.storage.folder],
    ]  # fmt: skip
    show("result", ["", ""], rows)
    for text in result.warnings:
        print(f"{'warning' if text.startswith(COLLAPSED) else 'note'}: {text}")


def show_count(model: str, strategy: Strategy, count: ParameterCount, formula: Formula) -> None:
    """What is trained, by formula and from the model, group by group."""
    by_formula = {"adapters": formula.adapters, "layer_norm": formula.layer_norm, "other": formula.other}
    rows = [
        [name, _integer(by_formula.get(name)), _integer(counted)]
        for name, counted in count.groups.model_dump().items()
    ]  # fmt: skip
    rows += [
        ["trained", "", _integer(count.trained)],
        ["backbone", "", _integer(count.backbone)],
        ["total", "", _integer(count.total)],
        ["trained, % of the unadapted model", "", f"{count.trained_percent:.2f}"],
        ["trained, % of its encoder layers", "", f"{count.trained_percent_encoder:.2f}"],
    ]
    named = f"{formula.text} = {formula.filled}" if formula.filled else formula.text
    if formula.total is not None:
        together = count.groups.adapters + count.adapter_norms
        norms = " with their LayerNorms" if formula.adapter_norms else ""
        rows = [
            [f"per adapter: {named}", _integer(formula.per_adapter), _integer(count.per_adapter)],
            [f"{formula.adapter_count} adapters{norms}", _integer(formula.total), _integer(together)],
            *rows,
        ]
    elif named:
        rows = [[named, _integer(formula.trained), _integer(_in_backbone(count))], *rows]
    show(
        ", ".join(part for part in (model, strategy.name, strategy.tag()) if part),
        ["parameters", "formula", "model"],
        rows,
    )


def show_inspection(found: dict[str, Any]) -> None:
    """The splits of a data set side by side, and a few rows, from ``Inspection.model_dump()``."""
    looks = found["splits"]

    def line(name: str, *keys: str, text: Callable[[Any], str]) -> list[str]:
        """One fact about every split, a dash where it is not known."""
        cells = []
        for look in looks:
            value = look
            for key in keys:
                value = value.get(key) if value is not None else None
            cells.append("-" if value is None else text(value))
        return [name, *cells]

    labels = dict.fromkeys(name for look in looks for name in look["labels"])
    of_label = "{:.2f}".format if found["is_regression"] else "{:.1%}".format
    rows = [
        line("rows", "rows", text="{:,}".format),
        *(line(f"label {name}", "labels", name, text=of_label) for name in labels),
        *(line(f"tokens, {name}", "tokens", name, text=str) for name in looks[0]["tokens"]),
        line("cut at max_length", "cut_share", text="{:.1%}".format),
        line("with an empty text", "empty", text="{:,}".format),
        line("repeated", "repeated", text="{:,}".format),
        line("repeated with another label", "contradicted", text="{:,}".format),
        line("found in train too", "in_train", text="{:,}".format),
    ]
    show(f"{found['task']}: {' and '.join(found['columns'])}", ["", *(look["split"] for look in looks)], rows)
    for text, label in found["samples"]:
        print(f"{label}: {text}")


def _in_backbone(count: ParameterCount) -> int:
    return count.groups.total - count.groups.head - count.groups.pooler


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("-", "").isdigit() or cell == "-"


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _integer(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} examples/s"


def _bytes(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 2**20:,.1f} MiB" if value >= 2**20 else f"{value / 2**10:,.1f} KiB"


def show_bench(rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    """Speed and memory of strategies, and their steps as bars."""
    rate = 2 * about["products_per_second"] / 1e9
    title = (
        f"{about['model']}, {about['lengths']} tokens, batch {about['batch_size']}, {about['precision']} on "
        f"{about['device']} ({about['threads']} threads); matrix products {rate:,.0f} GFLOP/s"
    )
    phases = ("forward_ms", "backward_ms", "optimiser_ms", "step_ms")
    header = ["strategy", "forward ms", "backward ms", "optimiser ms", "step ms", "to full", "examples/s", "tokens/s",
              "of peak", "memory", "to full", "checkpoint", "evaluating, examples/s"]  # fmt: skip
    cells = [
        [
            row["name"],
            *("-" if row[name] is None else f"{row[name]:,.1f}" for name in phases),
            "" if row["step_ratio"] is None else f"{row['step_ratio']:.3f}",
            f"{row['examples_per_second']:,.1f}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['peak_share']:.2f}",
            _bytes(row["peak_memory_bytes"]),
            "" if row["memory_ratio"] is None else f"{row['memory_ratio']:.3f}",
            _bytes(row["checkpoint_bytes"]),
            f"{row['eval_examples_per_second']:,.1f}",
        ]
        for row in rows
    ]
    show(title, header, cells)
    longest = max(row["step_ms"] for row in rows)
    bars = [
        [row["name"], f"{row['step_ms']:,.0f} ms", "#" * max(1, round(50 * row["step_ms"] / longest))] for row in rows
    ]
    show("a training step", ["", "", ""], bars)


def show_ablation(found: Ablation) -> None:
    """Scores by first and last layer taken out, below what they are held against."""
    header = ["", "layers taken out", *found.metrics]
    rows = [["whole model", "none", *(f"{found.whole[name]:.4f}" for name in found.metrics)]]
    every = next(span.scores for span in found.spans if (span.first, span.last) == (0, found.layers - 1))
    rows.append(["no adapter", "all", *(f"{every[name]:.4f}" for name in found.metrics)])
    if found.majority is not None:
        rows.append(["majority class", "", *(f"{found.majority[name]:.4f}" for name in found.metrics)])
    show(f"{found.task} ({found.split})", header, rows)
    cells = [["" if v is None else f"{v:.4f}" for v in row] for row in found.matrix()]
    header = ["first \\ last", *map(str, range(found.layers))]
    show(found.metric, header, [[str(first), *row] for first, row in enumerate(cells)])


def show_best_choices(best: Sequence[dict[str, Any]]) -> None:
    """The best choice of each group of a sweep."""
    names = list(best[0]["group"]) if best else []
    rows = []
    for one in best:
        rest = {key: value for key, value in one["choice"].items() if key not in names}
        text = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in rest.items())
        group = [_text(one["group"][name]) for name in names]
        rows.append([*group, text, f"{one['metric']} {one['mean']:.4f}", str(one["seeds"]), str(one["of_choices"])])
    show("the best of each group", [*names, "choice", "mean headline", "seeds", "choices"], rows)
