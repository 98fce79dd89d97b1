"""``adapter-tune init``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from adapter_tune.commands.options import general, own_data, setup
from adapter_tune.foundation.startup import prepare_libraries

log = logging.getLogger("adapter_tune")


def init(
    data: setup.Data = None,
    yes: setup.Yes = False,
    output: setup.TaskFile = Path("task.yaml"),
    model: setup.SuggestedModel = None,
    demo: general.Demo = False,
    validation_file: setup.FurtherValidationFile = None,
    test_file: own_data.TestFile = None,
    text_column: own_data.TextColumn = None,
    text_pair_column: own_data.TextPairColumn = None,
    label_column: own_data.LabelColumn = None,
    problem: own_data.Problem = None,
    subset: setup.Subset = None,
    force: setup.ReplaceTaskFile = False,
) -> None:
    """Look at your data, and write a configuration to train on them.

    Asks at most five questions, only about what the data leave open. Each value in the configuration has its reason in
    a comment.
    """
    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if not is_terminal and not yes and data is not None:
        log.info("this is no terminal, so nothing is asked (as with --yes)")
    from adapter_tune.demo.location import DEMO

    model = DEMO if demo and model is None else model
    prepare_libraries(demo or model == DEMO)
    from adapter_tune.report.setup_output import show_plan
    from adapter_tune.setup.plan import Request, make_plan
    from adapter_tune.setup.questions import Interview, chosen_file
    from adapter_tune.setup.task_file import next_commands, write_task_file

    interview = Interview(is_terminal and not yes)
    file = chosen_file(output, force, interview)
    request = Request(
        data=data,
        subset=subset,
        model=model,
        demo=demo,
        files={"validation_file": validation_file, "test_file": test_file},
        columns={
            "text_column": text_column,
            "text_pair_column": text_pair_column,
            "label_column": label_column,
            "problem": problem,
        },
    )
    plan = make_plan(request, interview)
    if interview.has_asked:
        print()
    write_task_file(file, plan.about, plan.choices)
    show_plan(plan.about, [(each.path, each.value, each.reason) for each in plan.choices], plan.notes)
    print(f"{file} is written. Next:")
    for command in next_commands(file, plan.splits):
        print(f"  {command}")
    print(f"To predict other rows, give them with --input FILE in place of --split {plan.splits[1]}.")
