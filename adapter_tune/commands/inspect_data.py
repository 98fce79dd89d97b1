"""``adapter-tune inspect-data``."""

from __future__ import annotations

from adapter_tune.commands.common import custom_data_flags, given_config, task_of
from adapter_tune.commands.options import general, own_data, training
from adapter_tune.foundation.startup import prepare_libraries


def inspect_data(
    file: training.Config = None,
    config: training.ConfigFile = None,
    task: training.Task = None,
    model: training.Model = None,
    demo: general.Demo = False,
    train_file: own_data.TrainFile = None,
    validation_file: own_data.ValidationFile = None,
    test_file: own_data.TestFile = None,
    text_column: own_data.TextColumn = None,
    text_pair_column: own_data.TextPairColumn = None,
    label_column: own_data.LabelColumn = None,
    problem: own_data.Problem = None,
    set_: training.Set = None,
    as_json: general.Json = False,
) -> None:
    """Inspect the data before training.

    Prints the labels, the lengths in tokens, the duplicate rows, and a few rows after tokenisation.
    """
    from adapter_tune.config.compose import compose

    data_flags = custom_data_flags(
        train_file=train_file,
        validation_file=validation_file,
        test_file=test_file,
        text_column=text_column,
        text_pair_column=text_pair_column,
        label_column=label_column,
        problem=problem,
    )
    flags = {"--task task": task_of(task, train_file), "--model model.id": model, **data_flags}
    run_config = compose(given_config(file, config), flags, set_ or [], demo=demo)
    prepare_libraries(demo)
    from adapter_tune.data.custom import resolve_config
    from adapter_tune.data.inspection import inspect
    from adapter_tune.modeling.backbone import load_tokenizer
    from adapter_tune.modeling.model_files import check_is_backbone
    from adapter_tune.report.command_output import show_inspection

    check_is_backbone(run_config.model.id)
    inspection = inspect(resolve_config(run_config), load_tokenizer(run_config.model))
    if as_json:
        print(inspection.model_dump_json(indent=2))
    else:
        show_inspection(inspection.model_dump())
