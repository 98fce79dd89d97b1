"""``adapter-tune train``."""

from __future__ import annotations

from adapter_tune.commands import options as o
from adapter_tune.commands.common import as_yaml, custom_data_flags, model_flags, print_counts, task_of
from adapter_tune.foundation.startup import prepare_libraries


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
    init_from: o.InitFrom = None,
    train_pooler: o.TrainPooler = False,
    lr: o.LearningRate = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    seed: o.Seed = None,
    output: o.Output = None,
    set_: o.Set = None,
    resume: o.Resume = True,
    force: o.Force = False,
    dry_run: o.DryRun = False,
) -> None:
    """Train on a task, evaluate, and print the results.

    The results are the scores, the number of trained parameters, the speed and the peak memory.
    """
    from adapter_tune.config.compose import compose
    from adapter_tune.config.yaml_files import to_yaml

    data_flags = custom_data_flags(
        train_file=train_file,
        validation_file=validation_file,
        test_file=test_file,
        text_column=text_column,
        text_pair_column=text_pair_column,
        label_column=label_column,
        problem=problem,
    )
    flags = {
        "--task task": task_of(task, train_file),
        **data_flags,
        "--init-from init_from.run": init_from,
        "--output output": output,
        "--seed training.seed": as_yaml("--seed", seed),
        "--lr training.learning_rate": as_yaml("--lr", lr),
        "--epochs training.epochs": as_yaml("--epochs", epochs),
        "--batch-size training.batch_size": as_yaml("--batch-size", batch_size),
        **model_flags(model, strategy, m, train_pooler),
    }
    run_config = compose(config, flags, set_ or [], demo=demo)
    if dry_run:
        from adapter_tune.runs.resolve import resolve_run
        from adapter_tune.training.arguments import check_training

        resolved = resolve_run(run_config)
        check_training(resolved)
        print(to_yaml(resolved.model_dump()))
        print_counts([resolved], resolved.task_spec.num_labels, max_length=resolved.data.max_length)
        return
    from adapter_tune.report.command_output import show_result

    prepare_libraries(demo)
    from adapter_tune.runs.run import run

    show_result(run(run_config, force=force, resume=resume))
