"""What the commands print about results: a run, counts, data, speed, an ablation, the choices of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from adapter_tune.report.terminal import show

if TYPE_CHECKING:
    from adapter_tune.adapters.formula import Formula, ParameterCount
    from adapter_tune.run_files.ablation_result import Ablation
    from adapter_tune.run_files.result import Result
    from adapter_tune.strategies import Strategy


def show_result(result: Result) -> None:
    """Print the table at the end of a run, and the run's warnings and notes."""
    from adapter_tune.run_files.result import COLLAPSED

    parameters = result.parameters
    groups = ", ".join(f"{name} {size:,}" for name, size in parameters.groups.model_dump().items() if size)
    per_adapter = parameters.formula // parameters.adapter_count if parameters.formula else None
    headline = result.headline
    rows = [
        ["task", result.task],
        ["strategy", result.strategy],
        ["m", _text(result.config["strategy"].get("m"))],
        ["backbone", result.model.id],
    ]
    if result.model.language_adapter is not None:
        rows.append(["language adapter", f"{result.model.language_adapter} ({_integer(parameters.language_adapter)})"])
    for split, scores in result.scores.items():
        rows += [[f"{name} ({split})", f"{value:.4f}"] for name, value in scores.items()]
    rows += [
        ["headline", f"{headline.metric} {headline.value:.4f} on {headline.split}"],
        ["parameters per adapter", _integer(per_adapter)],
        ["adapters", _integer(parameters.adapter_count)],
        ["trained parameters", f"{parameters.trained:,} ({groups})"],
        ["  of the model without adapters", f"{parameters.trained_percent:.2f} %"],
        ["  of the encoder layers", f"{parameters.trained_percent_encoder:.2f} %"],
        ["training", _rate(result.speed.train_examples_per_second)],
        ["evaluation", _rate(result.speed.eval_examples_per_second)],
        ["peak memory", _bytes(result.speed.peak_memory_bytes)],
        ["saved adapter", _bytes(result.storage.adapter_bytes)],
        ["folder", result.storage.folder],
    ]
    show("result", ["", ""], rows)
    for text in result.warnings:
        print(f"{'warning' if text.startswith(COLLAPSED) else 'note'}: {text}")


def show_count(model: str, strategy: Strategy, count: ParameterCount, formula: Formula) -> None:
    """Print the trained parameters, by formula and from the model, for each group of parameters."""
    by_formula = {"adapters": formula.adapters, "layer_norm": formula.layer_norm, "other": formula.other}
    rows = _formula_rows(count, formula)
    for name, size in count.groups.model_dump().items():
        rows.append([name, _integer(by_formula.get(name)), _integer(size)])
    rows += [
        ["trained", "", _integer(count.trained)],
        ["backbone", "", _integer(count.backbone)],
        *([["  of it the language adapter", "", _integer(count.language_adapter)]] if count.language_adapter else []),
        ["total", "", _integer(count.total)],
        ["trained, % of the model without adapters", "", f"{count.trained_percent:.2f}"],
        ["trained, % of the encoder layers", "", f"{count.trained_percent_encoder:.2f}"],
    ]
    title = ", ".join(part for part in (model, strategy.name, strategy.tag()) if part)
    show(title, ["parameters", "formula", "model"], rows)


def _formula_rows(count: ParameterCount, formula: Formula) -> list[list[str]]:
    """Return the rows that give the strategy's formula; none if it has no formula."""
    text = f"{formula.text} = {formula.filled}" if formula.filled else formula.text
    if formula.total is not None:
        norms = " with their LayerNorms" if formula.adapter_norms else ""
        total = count.groups.adapters + count.adapter_norms
        return [
            [f"per adapter: {text}", _integer(formula.per_adapter), _integer(count.per_adapter)],
            [f"{formula.adapter_count} adapters{norms}", _integer(formula.total), _integer(total)],
        ]
    if text:
        in_backbone = count.groups.total - count.groups.head - count.groups.pooler
        return [[text, _integer(formula.trained), _integer(in_backbone)]]
    return []


def show_inspection(inspection: dict[str, Any]) -> None:
    """Print the splits of a data set side by side, and a few rows.

    Args:
        inspection: an ``Inspection`` as ``model_dump`` returns it.
    """
    splits = inspection["splits"]

    def fact(name: str, *keys: str, text: Callable[[Any], str]) -> list[str]:
        """Return a row with one value of every split, or a dash if the split does not have it."""
        cells = []
        for split in splits:
            value = split
            for key in keys:
                value = value.get(key) if value is not None else None
            cells.append("-" if value is None else text(value))
        return [name, *cells]

    labels = dict.fromkeys(label for split in splits for label in split["labels"])
    label_text = "{:.2f}".format if inspection["is_regression"] else "{:.1%}".format
    rows = [
        fact("rows", "rows", text="{:,}".format),
        *(fact(f"label {label}", "labels", label, text=label_text) for label in labels),
        *(
            fact(f"tokens, {name.replace(' %', 'th percentile')}", "tokens", name, text=str)
            for name in splits[0]["tokens"]
        ),
        fact("truncated at max_length", "cut_share", text="{:.1%}".format),
        fact("with an empty text", "empty", text="{:,}".format),
        fact("duplicates", "repeated", text="{:,}".format),
        fact("duplicates with another label", "contradicted", text="{:,}".format),
        fact("also in train", "in_train", text="{:,}".format),
    ]
    title = f"{inspection['task']}: {' and '.join(inspection['columns'])}"
    show(title, ["", *(split["split"] for split in splits)], rows)
    for text, label in inspection["samples"]:
        print(f"{label}: {text}")


def show_bench(rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    """Print the speed and the memory of strategies, and the times of their training steps as bars.

    Args:
        rows: a measurement of each strategy, as ``bench`` returns them.
        about: what the numbers depend on, as ``bench`` returns it.
    """
    gigaflops = 2 * about["products_per_second"] / 1e9
    title = (
        f"{about['model']}, {about['lengths']} tokens, batch {about['batch_size']}, {about['precision']} on "
        f"{about['device']} ({about['threads']} threads); matmul rate {gigaflops:,.0f} GFLOP/s"
    )
    header = [
        "strategy",
        "forward ms",
        "backward ms",
        "optimiser ms",
        "step ms",
        "ratio to full",
        "examples/s",
        "tokens/s",
        "share of matmul rate",
        "peak memory",
        "ratio to full",
        "checkpoint",
        "evaluation, examples/s",
    ]
    show(title, header, [_bench_cells(row) for row in rows])
    longest = max(row["step_ms"] for row in rows)
    bars = []
    for row in rows:
        bar = "#" * max(1, round(50 * row["step_ms"] / longest))
        bars.append([row["name"], f"{row['step_ms']:,.0f} ms", bar])
    show("time of a training step", ["", "", ""], bars)


def show_bench_exported(rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    """Print the speed of exported models beside that of torch.

    Args:
        rows: a measurement of each model, as ``bench_exported`` returns them.
        about: what the numbers depend on, as ``bench_exported`` returns it.
    """
    from adapter_tune.strategies import described

    title = (
        f"{about['model']}, {described(about['strategy'])}, {about['lengths']} tokens, batch {about['batch_size']}, "
        f"{about['device']} ({about['threads']} threads); {about['turns']} turns of {about['rows']} rows"
    )
    header = ["model", "size", "batch ms", "row ms", "rows/s", "tokens/s", "ratio to torch"]
    cells = []
    for row in rows:
        times = [f"{row[key]:,.1f}" for key in ("batch_ms", "row_ms", "rows_per_second")]
        size = _bytes(row["model_bytes"])
        cells.append([row["name"], size, *times, f"{row['tokens_per_second']:,.0f}", f"{row['speed']:.2f}"])
    show(title, header, cells)


def _bench_cells(row: dict[str, Any]) -> list[str]:
    phases = ("forward_ms", "backward_ms", "optimiser_ms", "step_ms")
    return [
        row["name"],
        *("-" if row[phase] is None else f"{row[phase]:,.1f}" for phase in phases),
        "" if row["step_ratio"] is None else f"{row['step_ratio']:.3f}",
        f"{row['examples_per_second']:,.1f}",
        f"{row['tokens_per_second']:,.0f}",
        f"{row['peak_share']:.2f}",
        _bytes(row["peak_memory_bytes"]),
        "" if row["memory_ratio"] is None else f"{row['memory_ratio']:.3f}",
        _bytes(row["checkpoint_bytes"]),
        f"{row['eval_examples_per_second']:,.1f}",
    ]


def show_ablation(ablation: Ablation) -> None:
    """Print the scores by first and last removed layer, below the scores that they are compared with."""

    def score_cells(scores: dict[str, float]) -> list[str]:
        return [f"{scores[name]:.4f}" for name in ablation.metrics]

    all_layers = (0, ablation.layers - 1)
    no_adapter = next(entry.scores for entry in ablation.spans if (entry.first, entry.last) == all_layers)
    rows = [
        ["whole model", "none", *score_cells(ablation.whole)],
        ["no adapters", "all", *score_cells(no_adapter)],
    ]
    if ablation.majority is not None:
        rows.append(["majority class", "", *score_cells(ablation.majority)])
    show(f"{ablation.task} ({ablation.split})", ["", "adapters removed", *ablation.metrics], rows)
    matrix_rows = []
    for first, scores in enumerate(ablation.matrix()):
        matrix_rows.append([str(first), *("" if score is None else f"{score:.4f}" for score in scores)])
    show(ablation.metric, ["first \\ last", *map(str, range(ablation.layers))], matrix_rows)


def show_best_choices(best: Sequence[dict[str, Any]]) -> None:
    """Print the best choice of each group of a sweep, as ``best_choices`` returns them."""
    group_names = list(best[0]["group"]) if best else []
    rows = []
    for entry in best:
        group = [_text(entry["group"][name]) for name in group_names]
        options = []
        for path, value in entry["choice"].items():
            if path not in group_names:
                options.append(f"{path.rpartition('.')[2]} {value}")
        score = f"{entry['metric']} {entry['mean']:.4f}"
        rows.append([*group, ", ".join(options), score, str(entry["seeds"]), str(entry["of_choices"])])
    show("best choice of each group", [*group_names, "choice", "mean headline", "seeds", "choices"], rows)


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _integer(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} examples/s"


def _bytes(size: int | None) -> str:
    if size is None:
        return "-"
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
