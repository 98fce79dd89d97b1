"""``adapter-tune train``."""

from __future__ import annotations

import logging
import shlex

from adapter_tune.commands.common import as_yaml, custom_data_flags, given_config, model_flags, print_counts, task_of
from adapter_tune.commands.options import general, own_data, training
from adapter_tune.foundation.startup import prepare_libraries

log = logging.getLogger("adapter_tune")


def train(
    file: training.Config = None,
    config: training.ConfigFile = None,
    task: training.Task = None,
    m: training.Size = None,
    strategy: training.StrategyName = None,
    model: training.Model = None,
    demo: general.Demo = False,
    train_file: own_data.TrainFile = None,
    validation_file: own_data.ValidationFile = None,
    test_file: own_data.TestFile = None,
    text_column: own_data.TextColumn = None,
    text_pair_column: own_data.TextPairColumn = None,
    label_column: own_data.LabelColumn = None,
    problem: own_data.Problem = None,
    init_from: training.InitFrom = None,
    train_pooler: training.TrainPooler = False,
    lr: training.LearningRate = None,
    epochs: training.Epochs = None,
    batch_size: training.BatchSize = None,
    seed: training.Seed = None,
    output: training.Output = None,
    set_: training.Set = None,
    resume: training.Resume = True,
    force: training.Force = False,
    dry_run: training.DryRun = False,
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
    run_config = compose(given_config(file, config), flags, set_ or [], demo=demo)
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

    result = run(run_config, force=force, resume=resume)
    show_result(result)
    predict = shlex.join(["adapter-tune", "predict", result.storage.folder])
    log.info("to predict rows of a file: %s --input FILE --output predictions.csv", predict)
