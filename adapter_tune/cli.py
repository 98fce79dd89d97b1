"""The command line. Commands are a few lines each; what is heavy is imported inside them."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import typer

from adapter_tune import options as o
from adapter_tune.errors import AdapterTuneError, UsageError

app = typer.Typer(
    name="adapter-tune",
    help="Adapter tuning of BERT-family encoders: few trained parameters, nearly full accuracy.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
INTERRUPTED = 130

config_app = typer.Typer(help="Look at configurations and check them.")
app.add_typer(config_app, name="config")


@app.command()
def train(
    config: o.ConfigFile = None,
    task: o.Task = None,
    m: o.Size = None,
    strategy: o.StrategyName = None,
    model: o.Model = None,
    demo: o.Demo = False,
    train_file: o.TrainFile = None,
    validation_file: o.ValidationFile = None,
    test_file: o.TestFile = None,
    text_column: o.TextColumn = None,
    text_pair_column: o.TextPairColumn = None,
    label_column: o.LabelColumn = None,
    problem: o.Problem = None,
    train_pooler: o.Pooler = False,
    lr: o.Rate = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    seed: o.Seed = None,
    output: o.Output = None,
    set_: o.Set = None,
    resume: o.Resume = True,
    force: o.Force = False,
    dry_run: o.DryRun = False,
) -> None:
    """Train on a task, the backbone frozen, and print scores beside what was trained."""
    from adapter_tune.compose import compose
    from adapter_tune.yaml_io import to_yaml

    flags = {
        "--task task": _task(task, train_file),
        **_own_flags(train_file, validation_file, test_file, text_column, text_pair_column, label_column, problem),
        "--output output": output,
        "--seed training.seed": _yaml("--seed", seed),
        "--lr training.learning_rate": _yaml("--lr", lr),
        "--epochs training.epochs": _yaml("--epochs", epochs),
        "--batch-size training.batch_size": _yaml("--batch-size", batch_size),
        **_model_flags(model, strategy, m, train_pooler),
    }
    composed = compose(config, flags, set_ or [], demo=demo)
    if dry_run:
        from adapter_tune.own_data import settled

        composed = settled(composed)
        print(to_yaml(composed.model_dump()))
        _count([composed], composed.record.num_labels, max_length=composed.data.max_length)
        return
    from adapter_tune.report.tables import show_result

    _ready_libraries(demo)
    from adapter_tune.runs import run

    show_result(run(composed, force=force, resume=resume))


@app.command("eval")
def evaluate(
    run: o.RunFolder = None,
    split: o.Split = None,
    batch_size: o.EvalBatchSize = None,
    model: o.Moved = None,
    demo: o.Demo = False,
    output: o.Newest = Path("runs"),
    output_json: o.OutputJson = None,
) -> None:
    """Rebuild backbone and adapter from disk and score them again."""
    from adapter_tune.report.tables import show_result

    if output_json is not None and (output_json.is_dir() or not output_json.parent.is_dir()):
        raise UsageError(f"--output-json: {output_json} cannot be written; name a file in a folder that is there")
    folder = _newest(run, output, demo)
    _ready_libraries(demo)
    from adapter_tune.runs import evaluate_run

    result = evaluate_run(folder, split=split, batch_size=batch_size, model=model, demo=demo)
    if output_json is not None:
        from adapter_tune import atomic

        atomic.write_text(output_json, result.model_dump_json(indent=2) + "\n")
    show_result(result)


@app.command()
def predict(
    run: o.RunFolder = None,
    split: o.AnySplit = None,
    input_: o.Input = None,
    output: o.Predictions = None,
    text: o.Text = None,
    text_pair: o.TextPair = None,
    text_column: o.TextColumn = None,
    text_pair_column: o.TextPairColumn = None,
    batch_size: o.EvalBatchSize = None,
    model: o.Moved = None,
    demo: o.Demo = False,
    runs: o.NewestIn = Path("runs"),
) -> None:
    """Predict with a trained run: a split of its task, a file of any size, or a text."""
    given = [name for name, value in (("--split", split), ("--input", input_), ("--text", text)) if value is not None]
    if len(given) != 1:
        raise UsageError(f"give one of --split, --input and --text{', not ' + ' and '.join(given) if given else ''}")
    if output is None and text is None:
        raise UsageError(f"{given[0]} needs --output: a CSV, TSV, JSONL or Parquet file")
    from adapter_tune.rowfiles import check_target, write_rows

    if output is not None:
        check_target(output)
    folder = _newest(run, runs, demo)
    _ready_libraries(demo)
    from adapter_tune.predict import predict_file, predict_split, predict_text
    from adapter_tune.report.tables import show
    from adapter_tune.runs import predictor

    ready = predictor(folder, batch_size=batch_size, model=model, demo=demo)
    if text is not None:
        said = predict_text(ready, text, *([] if text_pair is None else [text_pair]))
        show("prediction", ["", ""], [[k, v if isinstance(v, str) else f"{v:.4f}"] for k, v in said.items()])
    elif output is not None:
        if input_ is not None:
            count = predict_file(ready, input_, output, (text_column, text_pair_column))
        else:
            count = write_rows(output, predict_split(ready, split or ""))
        print(f"{count:,} predictions in {output}")


@app.command("inspect-data")
def inspect_data(
    config: o.ConfigFile = None,
    task: o.Task = None,
    model: o.Model = None,
    demo: o.Demo = False,
    train_file: o.TrainFile = None,
    validation_file: o.ValidationFile = None,
    test_file: o.TestFile = None,
    text_column: o.TextColumn = None,
    text_pair_column: o.TextPairColumn = None,
    label_column: o.LabelColumn = None,
    problem: o.Problem = None,
    set_: o.Set = None,
    as_json: o.Json = False,
) -> None:
    """Look at the data: labels, lengths in tokens, repeated rows, leaks, rows as the model sees them."""
    from adapter_tune.compose import compose

    own = _own_flags(train_file, validation_file, test_file, text_column, text_pair_column, label_column, problem)
    flags = {"--task task": _task(task, train_file), "--model model.id": model, **own}
    composed = compose(config, flags, set_ or [], demo=demo)
    _ready_libraries(demo)
    from adapter_tune.inspection import inspect
    from adapter_tune.model import load_tokenizer
    from adapter_tune.own_data import settled
    from adapter_tune.report.tables import show_inspection

    composed = settled(composed)
    found = inspect(composed, load_tokenizer(composed.model))
    if as_json:
        print(found.model_dump_json(indent=2))
    else:
        show_inspection(found.model_dump())


@app.command()
def submit(
    runs: o.RunFolders,
    output: o.Zip = Path("submission.zip"),
    allow_partial: o.AllowPartial = False,
    model: o.Moved = None,
    demo: o.Demo = False,
) -> None:
    """Write the zip for GLUE's leaderboard from one finished run a task."""
    _ready_libraries(demo)
    from adapter_tune.report.tables import show
    from adapter_tune.submit import submit as write

    table = write(runs, output, allow_partial=allow_partial, model=model, demo=demo)
    show(f"{output}", ["file", "task", "rows", "from"], table)


def _newest(run: Path | None, output: Path, demo: bool) -> Path:
    """The run that was named, or the newest one in the output folder."""
    from adapter_tune.result import finished_runs, is_demo

    if run is not None:
        return run
    found = next((run for run in finished_runs(output) if not demo or is_demo(run)), None)
    if found is None:
        raise UsageError(f"no finished {'demo ' * demo}run in {output}; name a run folder, or train first")
    logging.getLogger("adapter_tune").info("the newest run: %s", found)
    return found


@app.command("count-params")
def count_params(
    model: o.Model = None,
    demo: o.Demo = False,
    strategy: o.StrategyName = None,
    m: o.Sizes = None,
    num_labels: o.NumLabels = 2,
    train_pooler: o.Pooler = False,
    set_: o.Set = None,
    as_json: o.Json = False,
) -> None:
    """Count parameters by the closed formula and from the model, without weights."""
    from adapter_tune.compose import compose

    sizes = [None] if m is None else [m] if "[" in m else m.split(",")
    flags = [{"--task task": "mnli", **_model_flags(model, strategy, size, train_pooler)} for size in sizes]
    _count([compose(None, each, set_ or [], demo=demo) for each in flags], num_labels, as_json=as_json)


@app.command("list")
def list_(what: o.What = None, name: o.StrategyToShow = None) -> None:
    """List tasks, strategies and shipped configurations; one strategy in full with its name."""
    from adapter_tune.report.tables import show

    if name is not None:
        if what is not o.Listing.strategies:
            raise UsageError(f"'{name}': only strategies are shown one by one; write list strategies {name}")
        from adapter_tune.report.catalogue import show_strategy

        show_strategy(name)
        return

    if what in (None, o.Listing.tasks):
        from adapter_tune.tasks import TASKS

        rows = [
            [t.name, t.title, " ".join(t.text), " ".join(t.labels) or "{:g} to {:g}".format(*t.bounds), t.headline]
            for t in TASKS.values()
        ]
        show("tasks", ["name", "what", "columns", "labels", "headline"], rows)
    if what in (None, o.Listing.strategies):
        from adapter_tune.report.catalogue import show_strategies

        show_strategies()
    if what in (None, o.Listing.configs):
        from adapter_tune.compose import shipped_configs, summary

        configs = [[name, summary(path)] for name, path in shipped_configs().items()]
        show("configs", ["name", "what"], configs)


@config_app.command("show")
def config_show(name: o.ConfigName) -> None:
    """Print a shipped configuration."""
    from adapter_tune.compose import find_config
    from adapter_tune.yaml_io import read_text

    print(read_text(find_config(name)), end="")


@config_app.command("validate")
def config_validate(file: o.AnyConfig, task: o.Task = None) -> None:
    """Check a configuration: every key, every value."""
    from adapter_tune.compose import compose

    composed = compose(file, {"--task task": task})
    print(f"{file} is valid: it would run in {composed.folder}")


@app.callback()
def options(version: o.Version = False, debug: o.Debug = False) -> None:
    """Adapter tuning of BERT-family encoders: few trained parameters, nearly full accuracy."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line; every failure is one line on stderr and an exit code."""
    given = (sys.argv[1:] if argv is None else argv) or ["--help"]
    arguments = sorted(given, key=lambda word: word != "--debug")  # --debug may stand anywhere
    _log_to_stderr()
    try:
        if app(arguments, standalone_mode=False) == INTERRUPTED:  # typer makes an interruption an exit code
            raise KeyboardInterrupt
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        goes_on = "train" in arguments and not {"--force", "--no-resume"} & set(arguments)
        print("interrupted" + "; the same command goes on from the last checkpoint" * goes_on, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if "--debug" in arguments:
            raise
        message, code = _explain(error)
        print(f"error: {message}", file=sys.stderr)
        sys.exit(code)


def _explain(error: Exception) -> tuple[str, int]:
    """One line and an exit code for whatever went wrong."""
    if isinstance(error, AdapterTuneError):
        return " ".join(str(error).split()), error.exit_code
    if hasattr(error, "format_message"):  # click's own: an option that is not there, a value it cannot read
        return f"{' '.join(error.format_message().split())} (--help lists the options)", 2
    if isinstance(error, BrokenPipeError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (nobody reads on)
        return "the reader of the output is gone", 1
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}; free some space or choose another path", 1
    first = (str(error).strip() or "no message").splitlines()[0]
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError") or "can't allocate memory" in str(error):
        return f"out of memory ({first}); lower --batch-size, or --set training.gradient_checkpointing=true", 1
    return f"{type(error).__name__}: {first} (unexpected; --debug shows where)", 1


def _log_to_stderr() -> None:
    """The package's own messages, plain, on stderr."""
    logger = logging.getLogger("adapter_tune")
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler()]
    logger.propagate = False


def _ready_libraries(demo: bool = False) -> None:
    """Before the first heavy import: decide whether the Hub is there, and silence what is below."""
    import warnings

    from adapter_tune.hub import offline_if_unreachable

    if demo:  # nothing is asked of the Hub
        os.environ["HF_HUB_OFFLINE"] = "1"
    offline_if_unreachable()
    warnings.filterwarnings("ignore", category=FutureWarning)
    from adapter_tune.progress import console, library_noise

    library_noise(quiet=not console.is_terminal)


def _yaml(flag: str, text: str | None) -> Any:
    """A flag's text read as YAML; None where the flag was not given."""
    from adapter_tune.yaml_io import parse_value

    value = None if text is None else parse_value(text, flag)
    if text is not None and value is None:
        raise UsageError(f"{flag}: the value is empty; leave the option out for its default")
    return value


def _task(task: str | None, train_file: str | None) -> str | None:
    return "custom" if task is None and train_file is not None else task


def _own_flags(*values: str | None) -> dict[str, Any]:
    """The flags about data of the user's own, in the order of the commands' arguments."""
    names = ("train_file", "validation_file", "test_file", "text_column", "text_pair_column", "label_column", "problem")
    return {f"--{name.replace('_', '-')} data.{name}": value for name, value in zip(names, values, strict=True)}


def _model_flags(model: str | None, strategy: str | None, m: str | None, train_pooler: bool) -> dict[str, Any]:
    return {
        "--model model.id": model,
        "--train-pooler model.pooler": "train" if train_pooler else None,
        "--strategy strategy.name": strategy,
        "--m strategy.m": _yaml("--m", m),
    }


def _count(configs: list[Any], num_labels: int, *, max_length: int | None = None, as_json: bool = False) -> None:
    """Print the counts of several configurations."""
    import json

    from adapter_tune.demo import DEMO
    from adapter_tune.published import published

    if not all(published(config.model.id) for config in configs):
        _ready_libraries(all(config.model.id == DEMO for config in configs))
    from adapter_tune.model import count_on_meta
    from adapter_tune.report.tables import show_count

    objects = []
    for config in configs:
        count, shape, notes = count_on_meta(config.model, config.strategy, {"num_labels": num_labels}, max_length)
        named = {"model": config.model.id, "strategy": config.strategy.name, "m": config.m}
        objects.append({**named, **count.model_dump()})
        if not as_json:
            show_count(config.model.id, config.strategy, count, config.strategy.formula(shape))
            for note in notes:
                print(f"note: {note}")
    if as_json:
        print(json.dumps(objects, indent=2))
