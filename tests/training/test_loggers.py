import json
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from transformers import Trainer, TrainerCallback, TrainerState

from adapter_tune.config.resolved import flat
from adapter_tune.config.schema import LOGGERS, parse_config
from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.run_files.result import Headline, read_result
from adapter_tune.runs.reload import evaluate_run
from adapter_tune.runs.run import run
from adapter_tune.sweeps.spec import Sweep
from adapter_tune.sweeps.workers import run_workers
from adapter_tune.training import loggers
from adapter_tune.training.logger_libraries import LIBRARIES
from adapter_tune.training.logger_library import LoggerLibrary
from tests.helpers import interrupted, weights


class Recorder(TrainerCallback):  # type: ignore[misc]
    """In the place of the Trainer's callback for a library."""

    def __init__(self, entries: list[Any], fails_at: int | None) -> None:
        self.entries = entries
        self.fails_at = fails_at

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        print("a library that prints")
        if state.global_step == self.fails_at:
            raise ConnectionError("the server is gone\nand more")
        self.entries.append((state.global_step, dict(logs)))

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.entries.append("end")


class FakeLibrary(LoggerLibrary):
    """A logger whose runs are lists, by their identifiers."""

    module = "json"
    callback_class = ""
    runs: ClassVar[dict[str, list[Any]]] = {}
    fails_at: ClassVar[int | None] = None

    def open(self) -> None:
        if self.fails_at == 0:
            raise ConnectionError("no answer from https://me:secret@host/api")
        self.run_id = self.run_id or f"{self.name}.{len(self.runs)}"
        self.runs.setdefault(self.run_id, [])

    def entries(self) -> list[Any]:
        assert self.run_id is not None
        return self.runs[self.run_id]

    def callback(self) -> TrainerCallback:
        return Recorder(self.entries(), self.fails_at)

    def describe(self, values: Any) -> None:
        self.entries().append(values)

    def summarize(self, scores: dict[str, float], warnings: list[str], step: int) -> None:
        self.entries().append((scores, warnings, step))

    def close(self, *, is_complete: bool) -> None:
        self.entries().append("complete" if is_complete else "incomplete")


class OtherLibrary(FakeLibrary):
    """Another one, which does not fail."""

    runs: ClassVar[dict[str, list[Any]]] = {}
    fails_at: ClassVar[int | None] = None


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Any]]]:
    """The runs of a fake logger that takes the place of wandb."""
    monkeypatch.setitem(LIBRARIES, "wandb", FakeLibrary)
    monkeypatch.setitem(LIBRARIES, "mlflow", OtherLibrary)
    yield FakeLibrary.runs
    FakeLibrary.runs.clear()
    OtherLibrary.runs.clear()


def logged(entries: list[Any], key: str) -> list[tuple[int, float]]:
    return [(entry[0], entry[1][key]) for entry in entries if isinstance(entry, tuple) and key in entry[1]]


def in_history(result: Any, key: str) -> list[tuple[int, float]]:
    return [(int(entry["step"]), entry[key]) for entry in result.history if key in entry]


# The option ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "names"),
    [("none", []), ([], []), ("wandb", ["wandb"]), (["mlflow", "wandb", "mlflow"], ["mlflow", "wandb"])],
)
def test_a_name_or_a_list(value: Any, names: list[str]) -> None:
    assert parse_config({"task": "rte", "training": {"report_to": value}}).training.report_to == names


@pytest.mark.parametrize("value", ["comet", ["tensorboard", "comet"]])
def test_an_unknown_name_gets_a_hint(value: Any) -> None:
    with pytest.raises(FieldError, match=r"training.report_to: unknown logger 'comet'; did you mean 'comet_ml'\?"):
        parse_config({"task": "rte", "training": {"report_to": value}})


def test_other_processes_leave_the_record_to_the_first_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = tmp_path / loggers.FILE
    record.write_text("{")  # as it is while the first process deletes or replaces it
    monkeypatch.setattr("adapter_tune.foundation.distributed.is_main_process", lambda: False)
    with loggers.RunLoggers(["wandb"], tmp_path, {}, is_resumed=False):
        pass
    assert record.read_text() == "{"


def test_every_name_has_a_library() -> None:
    assert tuple(LIBRARIES) == LOGGERS


def test_a_missing_package_is_refused_before_anything_is_loaded(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(LIBRARIES["wandb"], "module", "wandb_for_this_test")
    (tmp_path / "wandb_for_this_test").mkdir()  # as offline runs leave it: a folder, not a package
    monkeypatch.syspath_prepend(tmp_path)
    config = make_config("rte", model=str(tmp_path / "nowhere"), report_to=["wandb"])
    with pytest.raises(UsageError, match=r"pip install 'adapter-tune\[wandb\]'"):
        run(config)


def test_it_is_not_part_of_what_a_run_is(
    make_config: Any, runs: dict[str, list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    silent = make_config("rte", epochs=1)
    result = run(silent)
    config = make_config("rte", epochs=1, report_to=["wandb"])
    assert config.folder == silent.folder
    with caplog.at_level(logging.INFO):
        assert run(config) == result
    assert "nothing is written to wandb" in caplog.text
    assert not runs


# By default ----------------------------------------------------------------------------------------------------------


def test_by_default_nothing_is_logged_whatever_the_environment_holds(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in LOGGERS:
        package = tmp_path / "packages" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise AssertionError('imported')\n")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "MLFLOW_RUN_ID", "COMET_API_KEY", "TRACKIO_SPACE_ID"):
        monkeypatch.setenv(name, "x")
    for name in ("MLFLOW_TRACKING_URI", "KUBEFLOW_TRAINER_SERVER_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection"))
    seen: list[str] = []
    train = Trainer.train

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.extend(type(callback).__module__ for callback in self.callback_handler.callbacks)
        assert self.args.report_to == []
        return train(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "train", spy)
    config = make_config("rte", epochs=1)
    run(config)
    assert seen
    assert not [module for module in seen if module.startswith("transformers.integrations")]
    assert sorted(path.name for path in config.folder.iterdir() if path.name[0] != ".") == [
        *("adapter", "config.yaml", "result.json"),
    ]
    assert not (tmp_path / "events").exists()


# A run in its log ----------------------------------------------------------------------------------------------------


def test_a_run_in_its_log(make_config: Any, runs: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config("mnli", epochs=2, report_to=["wandb"])
    result = run(config)
    [(name, entries)] = runs.items()
    assert name.startswith(config.folder.name)
    values = entries[0]
    for path, value in flat(result.config).items():
        assert values[path] == (value if isinstance(value, bool | int | float | str) else json.dumps(value))
    for path, count in flat(result.parameters.model_dump()).items():
        assert values[f"parameters.{path}"] == ("null" if count is None else count)
    assert values["backbone.fingerprint"] == result.model.fingerprint
    assert values["run_folder"] == str(config.folder)
    losses = logged(entries, "loss")
    assert len(losses) == 8
    assert losses == in_history(result, "loss")
    key = "eval_validation_mismatched_accuracy"
    assert logged(entries, key) == in_history(result, key)
    scores, warnings, step = entries[-3]
    assert scores["final/validation_mismatched_accuracy"] == result.scores["validation_mismatched"]["accuracy"]
    assert scores["final/headline"] == result.headline.value
    best = [score for _, score in in_history(result, "eval_validation_matched_accuracy")]
    assert scores["final/best_epoch"] == 1 + best.index(max(best))
    assert warnings == result.warnings
    assert step == 8
    assert entries[-2:] == ["end", "complete"]
    output = capsys.readouterr()
    assert "a library that prints" in output.err
    assert "a library that prints" not in output.out


def test_scoring_a_run_again_writes_nothing(make_config: Any, runs: dict[str, list[Any]]) -> None:
    config = make_config("rte", epochs=1, report_to=["wandb"])
    run(config)
    before = json.dumps(runs)
    evaluate_run(config.folder)
    assert json.dumps(runs) == before


def test_a_resumed_run_continues_its_log(
    make_config: Any, runs: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("rte", epochs=3, report_to=["wandb"])
    interrupted(config, monkeypatch, after=7)  # steps 5 to 7 are logged, and computed again from the checkpoint
    [entries] = runs.values()
    assert [step for step, _ in logged(entries, "loss")] == list(range(1, 8))
    assert entries[-1] == "incomplete"
    result = run(config)
    [entries] = runs.values()
    assert logged(entries, "loss") == in_history(result, "loss")
    assert logged(entries, "eval_validation_accuracy") == in_history(result, "eval_validation_accuracy")
    assert [type(entry) for entry in entries].count(dict) == 2  # described again, under the same identifier
    assert entries[-2:] == ["end", "complete"]


def test_a_logger_may_be_added_at_the_resume(
    make_config: Any, runs: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(make_config("rte", epochs=2), monkeypatch, after=5)
    run(make_config("rte", epochs=2, report_to=["wandb"]))
    assert "wandb has nothing of this run yet: its log begins where the run is resumed" in caplog.text
    [entries] = runs.values()
    assert isinstance(entries[0], dict)
    assert [step for step, _ in logged(entries, "loss")] == [5, 6, 7, 8]


def test_training_again_starts_a_new_log(make_config: Any, runs: dict[str, list[Any]]) -> None:
    config = make_config("rte", epochs=1, report_to=["wandb"])
    run(config)
    run(config, force=True)
    first, second = runs.values()
    assert logged(first, "loss") == logged(second, "loss") != []


def test_final_scores_are_written_once(make_config: Any, runs: dict[str, list[Any]], tmp_path: Path) -> None:
    """A run that was stopped after its final scores, before its result, is resumed at its last step."""
    event: Any = (None, TrainerState(global_step=5), None)
    for is_resumed in (False, True):
        with loggers.RunLoggers(["wandb"], tmp_path, {}, is_resumed=is_resumed) as own:
            own.on_train_begin(*event)
            own.on_train_end(*event)
            own.finish(
                {"validation": {"accuracy": 0.5}}, Headline(split="validation", metric="accuracy", value=0.5), []
            )
    (entries,) = runs.values()
    assert sum(isinstance(entry, tuple) for entry in entries) == 1


def test_a_damaged_record_is_said(
    make_config: Any, runs: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("rte", epochs=2, report_to=["wandb"])
    interrupted(config, monkeypatch, after=6)
    (config.folder / loggers.FILE).write_text("{")
    with pytest.raises(RunError, match=r"loggers\.json: not valid JSON .* start again with --no-resume"):
        run(config)


# A logger that fails -------------------------------------------------------------------------------------------------


def test_one_that_fails_later_does_not_lose_the_training(
    make_config: Any,
    runs: dict[str, list[Any]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    config = make_config("rte", epochs=2, report_to=["wandb", "mlflow"])
    monkeypatch.setattr(FakeLibrary, "fails_at", 3)
    result = run(config)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in messages if "failed" in text] == [
        "wandb failed at step 3 (the server is gone); the run goes on without it, and its log is incomplete"
    ]
    [entries] = runs.values()
    assert [step for step, _ in logged(entries, "loss")] == [1, 2]
    assert entries[-1] == "incomplete"
    [others] = OtherLibrary.runs.values()
    assert logged(others, "loss") == in_history(result, "loss")
    assert others[-1] == "complete"
    silent = make_config("rte", epochs=2).model_copy(update={"output": str(tmp_path / "silent")})
    assert run(silent).scores == result.scores
    assert (weights(silent)["classifier.weight"] == weights(config)["classifier.weight"]).all()


def test_one_that_cannot_start_is_said_before_training(
    make_config: Any, runs: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("rte", epochs=1, report_to=["mlflow", "wandb"])
    monkeypatch.setattr(FakeLibrary, "fails_at", 0)
    with pytest.raises(
        RunError, match=r"wandb cannot start \(no answer from https://\*\*\*@host/api\); fix this, or remove wandb"
    ):
        run(config)
    [entries] = OtherLibrary.runs.values()
    assert entries[-1] == "incomplete"
    assert logged(entries, "loss") == []
    assert not (config.folder / "result.json").exists()


# The libraries themselves --------------------------------------------------------------------------------------------


def events_of(folder: Path) -> Any:
    """The event files of a run, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    return events.Reload()


def scalars(events: Any, tag: str) -> list[Any]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    config = make_config("rte", epochs=2, report_to="tensorboard")
    interrupted(config, monkeypatch, after=6)
    record = config.folder / loggers.FILE
    known = json.loads(record.read_text())
    known["loggers"]["tensorboard"]["last_steps"]["loss"] = 5  # killed after step 6 was written, before the record was
    record.write_text(json.dumps(known))
    result = run(config)
    events = events_of(config.folder)
    assert scalars(events, "train/loss") == [(step, pytest.approx(loss)) for step, loss in in_history(result, "loss")]
    key = "eval_validation_accuracy"
    scores = [(step, pytest.approx(score)) for step, score in in_history(result, key)]
    assert scalars(events, "eval/validation_accuracy") == scores
    assert scalars(events, "final/headline") == [(8, pytest.approx(result.headline.value))]
    [text] = events.Tensors("configuration/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert f"| parameters.trained | {result.parameters.trained} |" in table
    assert "| training.epochs | 2.0 |" in table
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.slow
def test_mlflow(make_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    config = make_config("rte", epochs=2, report_to="mlflow")
    interrupted(config, monkeypatch, after=6)
    result = run(config)
    client = mlflow.MlflowClient()
    run_id = json.loads((config.folder / loggers.FILE).read_text())["loggers"]["mlflow"]["run_id"]
    stored = client.get_run(run_id)
    assert (stored.info.run_name, stored.info.status) == (config.folder.name, "FINISHED")
    assert client.get_experiment(stored.info.experiment_id).name == "adapter-tune"
    for key in ("loss", "eval_validation_accuracy"):
        history = [(entry.step, entry.value) for entry in client.get_metric_history(run_id, key)]
        assert history == in_history(result, key)
    assert stored.data.metrics["final/headline"] == result.headline.value
    assert stored.data.params["parameters.trained"] == str(result.parameters.trained)
    assert stored.data.params["strategy.m"] == "4"
    other = make_config("rte", epochs=1, seed=1, report_to="mlflow")
    run(other)  # in the same process: a run of its own
    assert mlflow.active_run() is None
    assert len(client.search_runs([stored.info.experiment_id])) == 2


@pytest.mark.slow
def test_trackio(make_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    config = make_config("rte", epochs=2, report_to="trackio")
    for _ in range(2):
        interrupted(config, monkeypatch, after=6)
        result = run(config)
        (config.folder / "result.json").unlink()
    first, second = SQLiteStorage.get_run_records("adapter-tune")
    assert {first["name"], second["name"]} == {config.folder.name}
    for record in (first, second):
        entries = SQLiteStorage.get_logs("adapter-tune", record["name"], run_id=record["id"])
        losses = [(entry["train/global_step"], entry["train/loss"]) for entry in entries if "train/loss" in entry]
        assert losses == in_history(result, "loss")
        [last] = [entry for entry in entries if "final/headline" in entry]
        assert last["final/headline"] == result.headline.value
    values = SQLiteStorage.get_run_config("adapter-tune", first["name"], run_id=first["id"])
    assert values["parameters.trained"] == result.parameters.trained


@pytest.mark.slow
def test_the_runs_of_parallel_workers_have_logs_of_their_own(make_config: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    values = make_config("rte", epochs=1, report_to="tensorboard").model_dump(include={"model", "data", "training"})
    options = {path: value for path, value in flat(values).items() if value is not None}
    sweep = Sweep(name="s", set=options, parameters={"task": ["rte"], "training.seed": [1, 2, 3]})
    run_workers(sweep, tmp_path, None, 2, lambda _: None)
    folders = [file.parent for file in tmp_path.glob("runs/*/result.json")]
    assert len(folders) == 3
    for folder in folders:
        losses = [(step, pytest.approx(loss)) for step, loss in in_history(read_result(folder), "loss")]
        assert scalars(events_of(folder), "train/loss") == losses
