"""The libraries of experiment loggers: one class each, with what is peculiar to it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import integration_utils

from adapter_tune.training.logger_library import EVENTS, HEADLINE, PROJECT, LoggerLibrary, Values


class TensorBoard(LoggerLibrary):
    """Event files in the run folder."""

    module = "tensorboard"
    callback_class = "TensorBoardCallback"
    describes_again = False  # all texts would be there twice

    def open(self) -> None:
        """Open a file; those of earlier processes stay, and what was written after the last known step is void."""
        from torch.utils.tensorboard import SummaryWriter

        purge_step = None if self.is_new else self.last_step + 1
        self._writer = SummaryWriter(str(self.folder / EVENTS), purge_step=purge_step)
        self.run_id = EVENTS

    def callback(self) -> TrainerCallback:
        """The Trainer's callback, which writes to our files."""
        return integration_utils.TensorBoardCallback(self._writer)

    def describe(self, values: Values) -> None:
        """Write a table of the values as a text."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        self._writer.add_text("configuration", f"| option | value |\n| --- | --- |\n{rows}")
        self._write_hparams(values)

    def _write_hparams(self, values: Values) -> None:
        """Let TensorBoard's table of hyperparameters show this run, with its headline score."""
        from torch.utils.tensorboard.summary import hparams

        file_writer = self._writer.file_writer
        assert file_writer is not None  # until it is closed
        for summary in hparams(values, {HEADLINE: 0.0}):
            file_writer.add_summary(summary)

    def summarize(self, scores: dict[str, float], warnings: list[str], step: int) -> None:
        """Write the scores as scalars at the last step."""
        for name, score in scores.items():
            self._writer.add_scalar(name, score, step)
        if warnings:
            self._writer.add_text("warnings", "\n\n".join(warnings), step)

    def close(self, *, is_complete: bool) -> None:
        """Flush and close the files."""
        self._writer.close()


class Wandb(LoggerLibrary):
    """Weights & Biases: a server, or offline files in the run folder."""

    module = "wandb"
    callback_class = "WandbCallback"

    def open(self) -> None:
        """Start or continue the run, unless the program has one already."""
        import wandb

        self.is_ours = wandb.run is None
        if self.is_ours:
            wandb.init(
                project=os.getenv("WANDB_PROJECT", PROJECT),
                name=self.name,
                dir=os.getenv("WANDB_DIR", str(self.folder)),
                id=self.run_id,
                resume="allow",
            )
        self.run_id = str(wandb.run.id)

    def describe(self, values: Values) -> None:
        """Write the values into the run's configuration."""
        import wandb

        wandb.config.update(values, allow_val_change=True)

    def summarize(self, scores: dict[str, float], warnings: list[str], step: int) -> None:
        """Write the scores into the run's summary."""
        import wandb

        wandb.run.summary.update({**scores, "warnings": warnings} if warnings else scores)

    def close(self, *, is_complete: bool) -> None:
        """Finish the run, so that the next run of this process has one of its own."""
        import wandb

        if self.is_ours and wandb.run is not None:
            wandb.finish(exit_code=0 if is_complete else 1)


class Mlflow(LoggerLibrary):
    """MLflow: a server, or a local store."""

    module = "mlflow"
    callback_class = "MLflowCallback"

    def open(self) -> None:
        """Start or continue the run, unless the program has one already or the environment names one."""
        import mlflow

        named = os.getenv("MLFLOW_RUN_ID") or os.getenv("MLFLOW_NESTED_RUN")  # for the Trainer's callback
        self.is_ours = mlflow.active_run() is None and not named
        if self.is_ours:
            if not os.getenv("MLFLOW_EXPERIMENT_ID"):
                mlflow.set_experiment(os.getenv("MLFLOW_EXPERIMENT_NAME", PROJECT))
            self.run_id = mlflow.start_run(run_id=self.run_id, run_name=self.name).info.run_id

    def started(self, callback: TrainerCallback) -> None:
        """Wait for every value to be stored: the record of what was logged relies on it, and errors are seen."""
        callback._async_log = False

    def describe(self, values: Values) -> None:
        """Write the values as parameters, 100 at a time; those of a continued run cannot change."""
        import mlflow

        if not self.is_new:
            return
        items = list(values.items())
        for start in range(0, len(items), 100):
            mlflow.log_params(dict(items[start : start + 100]))

    def summarize(self, scores: dict[str, float], warnings: list[str], step: int) -> None:
        """Write the scores as metrics, and the warnings as a tag."""
        import mlflow

        names = {re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII): score for name, score in scores.items()}
        mlflow.log_metrics(names, step=step)
        if warnings:
            mlflow.set_tag("warnings", "; ".join(warnings))

    def close(self, *, is_complete: bool) -> None:
        """End the run; one that did not complete may be continued later."""
        import mlflow

        if self.is_ours and mlflow.active_run() is not None:
            mlflow.end_run("FINISHED" if is_complete else "KILLED")


class Trackio(LoggerLibrary):
    """Trackio: a local database, or a Space on the Hub if the environment names one."""

    module = "trackio"
    callback_class = "TrackioCallback"

    def open(self) -> None:
        """Make a new run the latest of its name; the Trainer's callback continues the latest one."""
        import trackio

        if self.is_new:
            trackio.init(project=trackio_project(), name=self.name, resume="never", embed=False)
            trackio.log({"train/global_step": 0})  # a run without entries would not be found
        self.run_id = self.name

    def describe(self, values: Values) -> None:
        """Write the values into the run's configuration."""
        import trackio

        trackio.config.update(values, allow_val_change=True)

    def summarize(self, scores: dict[str, float], warnings: list[str], step: int) -> None:
        """Write the scores as a last entry."""
        import trackio

        last: dict[str, Any] = {**scores, "train/global_step": step}
        trackio.log({**last, "warnings": "; ".join(warnings)} if warnings else last)

    def close(self, *, is_complete: bool) -> None:
        """Finish the run; the Trainer's callback has done so at the end of training."""
        import trackio

        with suppress(RuntimeError):
            trackio.finish()


class Comet(LoggerLibrary):
    """Comet: a server, or offline archives."""

    module = "comet_ml"
    callback_class = "CometCallback"

    def open(self) -> None:
        """Start or continue the experiment, unless the program has one already."""
        import comet_ml

        self._experiment = comet_ml.get_running_experiment()
        self.is_ours = self._experiment is None
        if self.is_ours:
            self._experiment = comet_ml.start(
                project_name=os.getenv("COMET_PROJECT_NAME", PROJECT),
                experiment_key=self.run_id,
                experiment_config=comet_ml.ExperimentConfig(name=self.name),
            )
        self.run_id = str(self._experiment.get_key())

    def describe(self, values: Values) -> None:
        """Write the values as parameters."""
        self._experiment.log_parameters(values)

    def summarize(self, scores: dict[str, float], warnings: list[str], step: int) -> None:
        """Write the scores as metrics, and the warnings beside them."""
        self._experiment.log_metrics(scores, step=step)
        if warnings:
            self._experiment.log_other("warnings", "; ".join(warnings))

    def close(self, *, is_complete: bool) -> None:
        """End the experiment, so that the next run of this process has one of its own."""
        if self.is_ours:
            self._experiment.end()


LIBRARIES: dict[str, type[LoggerLibrary]] = {
    "comet_ml": Comet,
    "mlflow": Mlflow,
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": Wandb,
}
"""The libraries by the names that ``training.report_to`` has for them."""


def trackio_project() -> str:
    """The project of Trackio that runs are written to."""
    return os.getenv("TRACKIO_PROJECT", PROJECT)
