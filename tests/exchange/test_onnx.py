"""An exported ONNX model computes what the run computes, predicts with the same columns, and its README.md works."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adapter_tune
from adapter_tune.adapters.parameter_count import count_parameters
from adapter_tune.bench.exported import bench_exported
from adapter_tune.cli import main
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import parse_config
from adapter_tune.data.row_files import read_rows, write_rows
from adapter_tune.exchange import onnx_export, onnx_folder, onnx_int8
from adapter_tune.exchange.exporting import export_run
from adapter_tune.exchange.formats import Export
from adapter_tune.exchange.onnx_int8 import quantize
from adapter_tune.exchange.onnx_predict import onnx_predictor, open_session
from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError
from adapter_tune.runs.predict import predict_file, predict_text
from adapter_tune.runs.reload import evaluate_run, predictor
from tests.helpers import CONFIGS, rows_of, save_family, saved_run

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

STRATEGIES = ("houlsby", "parallel", "lora", "pfeiffer", "adapter_plus")
CASES = [(strategy, family) for family in CONFIGS for strategy in STRATEGIES]


@pytest.fixture(scope="module")
def run(make_configs: Any, backbone: str, glue: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on pairs in float32, with random weights that make rows differ in their scores."""
    make = make_configs(backbone, glue, tmp_path_factory.mktemp("runs"))
    strategy = {"name": "parallel", "m": 8, "scale": 3.0, "layer_norm": "all"}
    model = {"id": backbone, "pooler": "train"}
    config = make("rte", strategy=strategy, model=model, precision="float32", max_steps=1)
    adapter_tune.run(config)
    saved_run(config.folder / "adapter", config)
    return Path(config.folder)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of its export, and what the export says."""
    folder = tmp_path_factory.mktemp("onnx") / "out"
    return folder, export_run(Export(run, int8=True), folder, "onnx")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of pairs of several lengths."""
    rows = rows_of("rte", 40)
    names = ("sentence1", "sentence2")
    pairs = zip(*(rows[name] for name in names), strict=True)
    write_rows(tmp_path / "rows.csv", (dict(zip(names, pair, strict=True)) for pair in pairs))
    return tmp_path / "rows.csv"


@pytest.fixture
def no_export(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of an export, which takes seconds, the model that was exported already."""
    monkeypatch.setattr(onnx_export, "_export", lambda run, path: shutil.copy(exported[0] / "model.onnx", path))


def shown(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The words of each line on the terminal."""
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_files_get_the_same_predictions(run: Path, exported: Any, file: Path, tmp_path: Path) -> None:
    folder, _ = exported
    predict_file(predictor(run, needs_data=False), str(file), tmp_path / "torch.jsonl")
    main(["predict", "--onnx", str(folder), "--input", str(file), "--output", str(tmp_path / "onnx.jsonl")])
    expected, computed = (list(read_rows(str(tmp_path / f"{name}.jsonl"), [])) for name in ("torch", "onnx"))
    assert len(computed) == 40
    assert np.ptp([row["score_entailment"] for row in computed]) > 1e-3
    for one, other in zip(expected, computed, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert other[name] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value)


def test_a_text_is_predicted_with_each_model(run: Path, exported: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = exported
    texts = ("the man sees a dog .", "a man sees it .")
    expected = predict_text(predictor(run, needs_data=False), *texts)
    for model, allowed in (("model.onnx", 1e-5), ("model-int8.onnx", 0.05)):
        computed = predict_text(onnx_predictor(folder / model), *texts)
        assert computed.keys() == expected.keys()
        assert computed["score_entailment"] == pytest.approx(expected["score_entailment"], abs=allowed)
    main(["predict", "--onnx", str(folder), "--text", texts[0], "--text-pair", texts[1]])
    assert ["score_entailment", f"{expected['score_entailment']:.4f}"] in shown(capsys)
    int8 = onnx_predictor(folder / "model-int8.onnx")
    assert predict_text(int8, *texts)["score_entailment"] != expected["score_entailment"]


def test_weights_in_a_file_of_their_own_are_quantised_alike(exported: Any, tmp_path: Path) -> None:
    """As those above 2 GB are; the declared shapes of weights, which some quantizers make wrong, are not used."""
    onnx = pytest.importorskip("onnx")
    folder, _ = exported
    model = onnx.load(str(folder / "model.onnx"))
    wrong = [onnx.helper.make_tensor_value_info(weight.name, 1, [7]) for weight in model.graph.initializer]
    shapes = [value for value in model.graph.value_info if value.name not in {weight.name for weight in wrong}]
    del model.graph.value_info[:]
    model.graph.value_info.extend([*shapes, *wrong])
    path, alike = tmp_path / "model.onnx", tmp_path / "model-int8.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    assert (tmp_path / "model.onnx.data").is_file()
    quantize(path, alike)
    computed, expected = (open_session(file) for file in (alike, folder / "model-int8.onnx"))
    inputs = {value.name: np.ones((2, 5), np.int64) for value in expected.get_inputs()}
    np.testing.assert_array_equal(computed.run(None, inputs)[0], expected.run(None, inputs)[0])


def test_a_token_of_large_values_takes_no_precision_from_the_others(tmp_path: Path) -> None:
    """Every backbone has such tokens; a product that two activations share and a token of zeros are in it, too."""
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, 16)).astype(np.float32), rng.normal(size=(64, 16)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w0"], ["y0"]),
            helper.make_node("MatMul", ["x", "w1"], ["y1"]),
            helper.make_node("Add", ["y0", "y1"], ["sum"]),
        ],
        "products",
        [helper.make_tensor_value_info("x", float32, ["rows", "tokens", 64])],
        [helper.make_tensor_value_info("sum", float32, ["rows", "tokens", 16])],
        [onnx.numpy_helper.from_array(weight, f"w{number}") for number, weight in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "model.onnx"))
    quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    x = rng.normal(size=(2, 5, 64)).astype(np.float32)
    x[0, 0] *= 1000
    x[1, 1] = 0
    (computed,) = open_session(tmp_path / "int8.onnx").run(None, {"x": x})
    exact = x @ (weights[0] + weights[1])
    error = np.abs(computed - exact).max(-1) / np.maximum(np.abs(exact).max(-1), 1e-9)
    assert error.max() < 0.03
    assert (computed[1, 1] == 0).all()
    onnx_int8._scale_tokens(model.graph)  # the same products, before anything has 8 bits
    onnx.save(model, str(tmp_path / "scaled.onnx"))
    (scaled,) = open_session(tmp_path / "scaled.onnx").run(None, {"x": x})
    np.testing.assert_allclose(scaled, exact, rtol=1e-4, atol=1e-4)


def test_int8_is_compared_on_the_validation_split(run: Path, exported: Any) -> None:
    folder, report = exported
    names = [model.name for model in report.compared]
    assert names == ["torch float32", "ONNX float32", "ONNX int8"]
    scores = evaluate_run(run).scores
    assert report.compared[0].scores == scores
    assert report.compared[1].scores == scores
    assert report.compared[2].bytes == (folder / "model-int8.onnx").stat().st_size < report.compared[1].bytes
    assert all(model.rows_per_second > 0 for model in report.compared)
    assert report.notes == []


@pytest.mark.usefixtures("no_export")
def test_without_the_data_the_scores_are_left_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", str(run / "adapter"), "--format", "onnx", "--int8", "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "warning: the scores were not compared, and speed was measured on random tokens: " in printed
    assert "ONNX int8" in printed
    assert "accuracy" not in printed


def test_the_example_in_its_readme_runs_without_torch(run: Path, exported: Any) -> None:
    folder, _ = exported
    text = (folder / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) <= 14
    code = "import sys; sys.modules['torch'] = None\n" + code.replace("path/to/this/folder", str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = predict_text(predictor(run, needs_data=False), "A first text.", "A second text.")["prediction"]
    assert done.stdout.splitlines()[-1] == f"['{expected}']"


def test_what_the_folder_says_of_the_run(exported: Any) -> None:
    folder, report = exported
    about = json.loads((folder / "adapter_tune.json").read_text())
    assert about["task"] == "rte"
    assert about["labels"] == ["entailment", "not_entailment"]
    assert about["text"] == ["sentence1", "sentence2"]
    assert about["max_length"] == 32
    assert about["inputs"] == ["input_ids", "token_type_ids", "attention_mask"]
    assert about["sha256"].keys() == {"model.onnx", "model-int8.onnx"}
    assert float(report.facts[0].rpartition(" ")[2]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("task", ["stsb", "custom"])
def test_numbers_and_several_labels(task: str, make_config: Any, tmp_path: Path, backbone: str) -> None:
    names = {"text_column": "text", "label_column": "topics", "problem": "multi_label", "labels": ["a", "b", "c"]}
    custom = {"custom": {**names, "metric": "f1_micro"}} if task == "custom" else {}
    data = {"max_length": 32, **custom}
    values = {"task": task, "model": backbone, "strategy": {"name": "pfeiffer", "m": 4}, "data": data}
    saved_run(tmp_path / "run", resolved(parse_config(values)))
    export_run(Export(tmp_path / "run"), tmp_path / "out", "onnx")
    onnx = onnx_predictor(tmp_path / "out")
    texts = ["a dog sees it .", "a dog"][: len(onnx.task.text)]
    row = predict_text(onnx, *texts)
    assert isinstance(row["prediction"], float if task == "stsb" else list)
    code = (tmp_path / "out" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code = code.replace("path/to/this/folder", str(tmp_path / "out"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[")


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "family"), CASES)
def test_every_family_with_adapters_and_lora(strategy: str, family: str, make_config: Any, tmp_path: Path) -> None:
    if strategy in ("pfeiffer", "adapter_plus") and family == "modernbert":
        pytest.skip("it has no LayerNorms after its sub-layers")
    check_export(strategy, family, make_config, tmp_path)


def check_export(strategy: str, family: str, make_config: Any, folder: Path) -> None:
    model = save_family(folder / "backbone", family)
    options = {"name": strategy} if strategy == "lora" else {"name": strategy, "m": 4}
    saved_run(folder / "run", make_config("mnli", strategy=options, model=model))
    export_run(Export(folder / "run"), folder / "out", "onnx")
    loaded, tokenizer = adapter_tune.load(folder / "run")
    onnx = onnx_predictor(folder / "out")
    rows = rows_of("mnli", 9)
    for count in (1, 2, 9):
        texts = (rows["premise"][:count], rows["hypothesis"][:count])
        tokens = dict(tokenizer(*texts, padding=True, truncation=True, max_length=32, return_tensors="pt"))
        with torch.inference_mode():
            expected = loaded(**tokens).logits.numpy()
        assert expected.shape == (count, 3)
        assert np.abs(expected).max() > 0.01
        assert np.abs(onnx.run(tokens) - expected).max() < 1e-4


@pytest.mark.usefixtures("no_export")
def test_a_model_that_computes_something_else_is_not_left_behind(make_config: Any, tmp_path: Path) -> None:
    saved_run(tmp_path / "run", make_config("rte"))
    with pytest.raises(RunError, match=r"computes other logits \(difference .*, 0.0001 is allowed\); nothing was"):
        export_run(Export(tmp_path / "run"), tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_a_model_that_torch_cannot_export_gives_one_line(
    make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_run(tmp_path / "run", make_config("rte"))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("an operation\nand much more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(RunError, match=r"torch cannot export the model to ONNX \(an operation\); nothing was written$"):
        export_run(Export(tmp_path / "run"), tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_run(tmp_path / "run", make_config("rte"))
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"ONNX needs the packages .*{package}.*: pip install 'adapter-tune\[onnx\]'"
    with pytest.raises(RunError, match=message):
        export_run(Export(tmp_path / "run"), tmp_path / "out", "onnx")
    if package == "onnxruntime":
        with pytest.raises(RunError, match=message):
            onnx_predictor(tmp_path / "out")


def damaged(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")


def other_labels(folder: Path) -> None:
    about = json.loads((folder / "adapter_tune.json").read_text())
    (folder / "adapter_tune.json").write_text(json.dumps({**about, "labels": ["yes", "no"]}))


def own_file(folder: Path) -> None:
    about = json.loads((folder / "adapter_tune.json").read_text())
    (folder / "adapter_tune.json").write_text(json.dumps({**about, "data": {"train_file": "/etc/hosts"}}))


@pytest.mark.parametrize(
    ("change", "path", "error", "message"),
    [
        (lambda folder: damaged(folder, "model.onnx"), "", RunError, r"model.onnx: is missing or has changed since"),
        (lambda folder: (folder / "model.onnx").unlink(), "", RunError, r"model.onnx: is missing or has changed since"),
        (other_labels, "", RunError, r"labels \['yes', 'no'\] are not those of rte"),
        (own_file, "", RunError, r"data.train_file should not be in it; the file is damaged"),
        (lambda folder: None, "model-int4.onnx", UsageError, r"unknown model 'model-int4.onnx'; did you mean"),
        (lambda folder: None, "missing", UsageError, r"no adapter_tune.json in .*missing; give a folder that"),
    ],
    ids=["damaged", "removed", "other labels", "own file", "unknown", "no folder"],
)
def test_a_wrong_folder_is_refused(
    change: Any, path: str, error: type[AdapterTuneError], message: str, exported: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for each in exported[0].iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    change(folder)
    with pytest.raises(error, match=message):
        onnx_predictor(folder / path if path else folder)


def test_a_file_that_is_no_model_is_refused(exported: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    about = onnx_folder.read_onnx_run(exported[0])[0]
    onnx_folder.write_onnx_run(tmp_path, about)
    for each in exported[0].glob("token*"):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    with pytest.raises(RunError, match=r"model.onnx: onnxruntime cannot read it \(.*\); export the run again"):
        onnx_predictor(tmp_path)


def test_exported_models_are_timed_beside_the_same_model_in_torch(
    exported: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported[0]
    words = ["--lengths", "5", "--steps", "1", "--batch-size", "32"]
    main(["bench", "--onnx", str(folder), *words, "--json"])
    output = json.loads(capsys.readouterr().out)
    in_torch, onnx, int8 = output["models"]
    assert [model["name"] for model in output["models"]] == ["torch float32", "ONNX float32", "ONNX int8"]
    assert output["strategy"]["name"] == "parallel"
    parameters = count_parameters(adapter_tune.load(run)[0]).total
    assert in_torch["model_bytes"] == 4 * parameters
    assert onnx["model_bytes"] == (folder / "model.onnx").stat().st_size > int8["model_bytes"]
    for model in output["models"]:
        assert model["batch_ms"] == pytest.approx(32 * model["row_ms"])
        assert model["tokens_per_second"] == pytest.approx(5 * model["rows_per_second"])
    main(["bench", "--onnx", str(folder / "model-int8.onnx"), *words])
    table = capsys.readouterr().out
    assert "ONNX int8" in table
    assert "ONNX float32" not in table


def test_an_export_that_does_not_name_its_strategy_is_not_timed(exported: Any, tmp_path: Path) -> None:
    for file in exported[0].iterdir():
        shutil.copy(file, tmp_path)
    about = json.loads((tmp_path / "adapter_tune.json").read_text())
    (tmp_path / "adapter_tune.json").write_text(json.dumps({**about, "strategy": {}}))
    with pytest.raises(UsageError, match="does not name the run's backbone and strategy; export the run again"):
        bench_exported(tmp_path, "rte", 1)
    assert onnx_predictor(tmp_path).task.name == "rte"  # predictions do not need it


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "RUN", "--onnx", "OUT", "--text", "a"], "--onnx: give no run beside it"),
        (["predict", "--onnx", "OUT", "--split", "test", "--output", "a.csv"], "--split is only for runs; remove it"),
        (["predict", "--onnx", "OUT", "--text", "a"], "task rte reads sentence1 and sentence2; give --text and"),
        (["predict", "--onnx", "OUT", "--text", "a", "--model", "b"], "--model is only for runs; remove it"),
        (["bench", "--onnx", "OUT", "--strategy", "houlsby"], "--strategy is only for bench without --onnx; remove it"),
        (["bench", "--onnx", "OUT", "--m", "8"], "--m is only for bench without --onnx; remove it"),
        (["bench", "--onnx", "OUT", "--kept"], "--kept is only for bench without --onnx; remove it"),
        (["bench", "--onnx", "OUT", "--set", "training.epochs=1"], "--set is only for bench without --onnx; remove it"),
        (["bench", "--onnx", "OUT", "--batch-size", "0"], "--batch-size: should be a whole number above 0, got 0"),
        (["bench", "--onnx", "OUT", "--lengths", "900"], "--lengths: 900 tokens per row are not possible"),
        (["bench", "--onnx", "RUN"], "no adapter_tune.json in"),
        (["export", "RUN", "--format", "merged", "--int8", "--output", "NEW"], "--int8 is only for --format onnx"),
        (["export", "RUN", "--format", "onnx", "--data-source", "a", "--output", "NEW"], "--data-source is only for"),
    ],
)
def test_what_would_be_ignored_is_refused(
    words: list[str], message: str, run: Path, exported: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"RUN": str(run), "OUT": str(exported[0]), "NEW": str(tmp_path / "new")}
    with pytest.raises(SystemExit) as end:
        main([names.get(word, word) for word in words])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
