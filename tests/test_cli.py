import json
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapter_tune import __version__
from adapter_tune.cli import main
from adapter_tune.config.shipped import shipped_configs
from adapter_tune.foundation import hub_errors
from adapter_tune.foundation.validation_messages import meanings
from adapter_tune.run_files.result import read_result
from adapter_tune.runs import save
from adapter_tune.strategies import REGISTRY
from adapter_tune.tasks.glue import TASKS


class Output:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Call the command line in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Output:
        capsys.readouterr()
        code = 0
        try:
            main(list(words))
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Output(code, captured.out, captured.err)

    return call


def assert_one_line(output: Output, code: int, *parts: str) -> None:
    """The last line on stderr is the error, and there is no traceback."""
    lines = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert output.code == code, output.err
    assert len(lines) == 1, output.err
    assert lines[0] == output.err.splitlines()[-1]
    assert "Traceback" not in output.err + output.out
    for part in parts:
        assert part in lines[0]


def test_train_eval_and_the_stored_result(cli: Any, small_world: list[str]) -> None:
    trained = cli("train", "--task", "mnli", "--m", "4", *small_world)
    assert trained.code == 0, trained.err
    for part in ("accuracy (validation_matched)", "accuracy (validation_mismatched)", "adapters", "examples/s"):
        assert part in trained.out
    assert "\x1b" not in trained.out + trained.err
    scored = cli("eval", "--output", "runs", "--output-json", "scores.json")
    assert scored.code == 0, scored.err
    assert "using the newest run: runs/mnli-houlsby-m4-" in scored.err
    folder = next(Path("runs").iterdir())
    assert json.loads(Path("scores.json").read_text())["scores"] == read_result(folder).scores

    def scores(text: str) -> list[str]:
        return [line for line in text.splitlines() if "accuracy" in line]

    assert scores(scored.out) == scores(trained.out)
    again = cli("train", "--task", "mnli", "--m", "4", *small_world)
    assert "is finished" in again.err
    assert again.out == trained.out


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--text"],
        ["predict", "--text", "x", "--text-pair"],
        ["train", "--train-file"],
        ["train", "--label-column"],
        ["train", "--demo", "--task", "rte", "--output"],
        ["list"],
    ],
    ids=" ".join,
)
def test_an_argument_that_is_not_utf8_is_refused(cli: Any, words: list[str]) -> None:
    output = cli(*words, os.fsdecode(b"caf\xe9"))
    assert_one_line(output, 2, r"argument caf\xe9: not UTF-8 (byte 0xe9); set the terminal to UTF-8, rename the file")
    assert list(Path.cwd().iterdir()) == []


def test_dry_run_prints_configuration_and_counts_and_trains_nothing(cli: Any, small_world: list[str]) -> None:
    output = cli("train", "--task", "mnli", "--m", "4", "--dry-run", *small_world)
    assert output.code == 0, output.err
    assert "m: 4" in output.out
    assert "2md + 3d + m = 2*4*32 + 3*32 + 4" in output.out
    assert not Path("runs").exists()
    assert cli("train", "--task", "rte", "--dry-run").code == 0  # a published model, without network


def test_count_params_for_several_sizes(cli: Any) -> None:
    output = cli("count-params", "--m", "8,64,256", "--num-labels", "3", "--json")
    counts = json.loads(output.out)
    assert [count["m"] for count in counts] == [8, 64, 256]
    assert list(counts[1]) == [
        "model", "strategy", "m", "backbone", "language_adapter", "groups", "trained", "total", "trained_percent",
        "trained_percent_encoder", "per_adapter", "adapter_count",
        "adapter_norms", "formula",
    ]  # fmt: skip
    assert counts[1]["formula"] == 24 * counts[1]["per_adapter"] == 2_416_128
    assert counts[1]["trained"] == 2_418_435
    table = cli("count-params", "--m", "64", "--num-labels", "3").out
    for part in ("2md + 3d + m = 2*64*768 + 3*768 + 64", "100,672", "2,416,128", "2,307", "2,418,435"):
        assert part in table


def test_count_params_for_other_models_strategies_and_options(cli: Any, backbone: str) -> None:
    def count(*words: str) -> Any:
        return json.loads(cli("count-params", "--json", *words).out)[0]

    assert count("--model", "bert-large-uncased")["adapter_count"] == 48
    assert count("--strategy", "full")["formula"] is None
    assert count("--set", "strategy.layer_norm=none")["per_adapter"] == 100_672 - 2 * 768
    assert count("--train-pooler")["groups"]["pooler"] == 768 * 769
    assert count("--model", backbone, "--m", "4")["per_adapter"] == 2 * 4 * 32 + 3 * 32 + 4


def test_list_config_and_version(cli: Any) -> None:
    everything = cli("list").out
    for name in (*TASKS, *REGISTRY, *shipped_configs()):
        assert name in everything
    assert "mnli" not in cli("list", "strategies").out
    assert cli("config", "show", "glue/mrpc").out == Path(shipped_configs()["glue/mrpc"]).read_text()
    assert "is valid" in cli("config", "validate", "glue/mrpc").out
    assert cli("--version").out == f"adapter-tune {__version__}\n"
    assert "Usage" in cli().out


RESULT: dict[str, Any] = {
    "task": "rte", "strategy": "head", "model": {"id": "x", "revision": None, "fingerprint": ""}, "seed": 1,
    "config": {"task": "rte"}, "scores": {}, "headline": {"split": "validation", "metric": "accuracy", "value": 0.5},
    "parameters": {
        "backbone": 1, "groups": dict.fromkeys(("adapters", "layer_norm", "head", "pooler", "other"), 0), "trained": 1,
        "total": 1, "trained_percent": 1, "trained_percent_encoder": 1, "per_adapter": None, "adapter_count": 0,
        "formula": None,
    },
    "speed": {"device": "cpu", "precision": "float32", **dict.fromkeys(
        ("real_token_share", "train_seconds", "train_examples_per_second", "train_tokens_per_second",
         "eval_examples_per_second", "peak_memory_bytes"))},
    "storage": {"folder": "finished", "adapter_bytes": 1}, "history": [], "warnings": [], "versions": {},
    "config_hash": "x",
}  # fmt: skip

WRONG = [
    (["train", "--task", "mnly"], "unknown task 'mnly'; did you mean 'mnli'?"),
    (["train", "--task", "RTE"], "unknown task 'RTE'; did you mean 'rte'?"),
    (["train"], "task: is missing: give --task"),
    (["train", "--task", "rte", "--strategy", "hulsby"], "did you mean 'houlsby'?"),
    (["train", "--task", "rte", "--set", "training.epoch=3"], "did you mean 'epochs'?"),
    (
        ["train", "--task", "rte", "--m", "0"],
        "--m: should be a whole number from 1 to 65536, or a list with one number per layer, got 0",
    ),
    (["train", "--task", "rte", "--m", "-5"], "got -5"),
    (
        ["train", "--task", "rte", "--m", "abc"],
        "--m: should be a whole number from 1 to 65536, or a list with one number per layer, got 'abc'",
    ),
    (["train", "--task", "rte", "--m", "8", "--strategy", "full"], "unknown option 'm'"),
    (["train", "--task", "rte", "--lr", "fast"], "--lr: should be a valid number"),
    (["train", "--task", "rte", "--lr", "[1"], "--lr: cannot read '[1'"),
    (["train", "--task", "rte", "--epochs", "0"], "--epochs: should be greater than 0"),
    (["train", "--task", "rte", "--m", ""], "--m: the value is empty"),
    (["train", "--task", "rte", "--m", "null"], "--m: the value is empty"),
    (["train", "--task", "rte", "--m", "!!int x"], "--m: cannot read"),
    (["train", "--task", "rte", "--set", "training="], "--set training: the value is empty"),
    (["train", "--task", "rte", "--config", ""], "no file ''"),
    (["train", "--task", "rte", "--dry-run", "--set", "data.max_length=600"], "set data.max_length=512"),
    (["count-params", "--m", "8,"], "--m: the value is empty"),
    (["count-params", "--num-labels", "99999999999999999999"], "--num-labels"),
    (["eval", "--output-json", "no/where.json"], "--output-json: no/where.json cannot be written"),
    (["eval", "--output-json", "."], "--output-json: . cannot be written"),
    (["eval", "finished"], "no adapter_config.json in it"),
    (["train", "--config", "nowhere.yaml"], "nowhere.yaml: No such file"),
    (["train", "--config", "broken.yaml"], "broken.yaml:2:1: not valid YAML"),
    (["train", "--bogus"], "--bogus"),
    (["train", "--m"], "--m"),
    (["bogus"], "bogus"),
    (["config"], "command"),
    (["config", "show", "glue/mnly"], "did you mean 'glue/mnli'?"),
    (["config", "show", "nowhere.yaml"], "No such file"),
    (["config", "show", "latin.yaml"], "not a UTF-8 text file"),
    (["config", "validate", "broken.yaml"], "broken.yaml:2:1"),
    (["config", "validate", "sweep.yaml"], "sweep.yaml is a sweep, not a configuration"),
    (["count-params", "--m", "8,x"], "got 'x'"),
    (["count-params", "--num-labels", "0"], "--num-labels"),
    (["list", "models"], "models"),
    (["list", "strategies", "hulsby"], "did you mean 'houlsby'?"),
    (["list", "tasks", "mnli"], "only a strategy can be shown on its own"),
    (["count-params", "--set", "strategy.layers=6-12"], "there is no layer 12; the backbone has layers 0 to 11"),
    (["count-params", "--m", "[1,2]"], "the list has 2 numbers, but the backbone has 12 layers"),
    (["count-params", "--strategy", "top_n", "--set", "strategy.n=13"], "13 is more than the backbone's 12 layers"),
    (["train", "--demo", "--task", "rte", "--set", "strategy.layers=top-5"], "more than the backbone's 4 layers"),
    (["train", "--task", "rte", "--set", "strategy.m=[0,0]"], "at least one above 0"),
    (["train", "--demo", "--task", "rte", "--set", "training.precision=fp16"], "fp16 needs a GPU"),
    (["eval"], "no finished run in runs"),
    (["eval", "."], "no result.json in it"),
    (["eval", "nowhere"], "nowhere: no result.json in it"),
    (["eval", "unfinished"], "unfinished: no result.json in it"),
]


@pytest.mark.parametrize(("words", "part"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_the_user_wrote_wrong_exits_with_2(cli: Any, words: list[str], part: str) -> None:
    Path("broken.yaml").write_text("task: rte\n}\n")
    Path("sweep.yaml").write_text("name: s\nparameters: {training.seed: [1, 2]}\n")
    Path("unfinished").mkdir()
    Path("unfinished/config.yaml").write_text("task: rte\n")
    Path("latin.yaml").write_bytes(b"task: rt\xe9\n")
    Path("finished").mkdir()
    Path("finished/result.json").write_text(json.dumps(RESULT))
    assert_one_line(cli(*words), 2, part)


def test_what_fails_on_the_way_exits_with_1(cli: Any, small_world: list[str], backbone: str, tmp_path: Path) -> None:
    nowhere = cli("train", "--task", "rte", *small_world, "--model", "no/where")
    assert_one_line(nowhere, 1, "model no/where: the Hub cannot be reached", "--model DIR")
    local = cli("train", "--task", "rte", *small_world, "--model", "./nodir/x/y")
    assert_one_line(local, 1, "no such model", "--model DIR")
    data = cli("train", "--task", "rte", *small_world, "--set", "data.source=no/where")
    assert_one_line(data, 1, "data set no/where (rte): the Hub cannot be reached", "data.source=DIR")
    shutil.copytree(backbone, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    cut = cli("train", "--task", "rte", *small_world, "--model", str(tmp_path / "cut"))
    assert_one_line(cut, 1, "its weights cannot be read", "damaged or incomplete")
    weights.unlink()
    empty = cli("train", "--task", "rte", *small_world, "--model", str(tmp_path / "cut"))
    assert_one_line(empty, 1, "it has no model.safetensors", "--model DIR")
    device = cli("train", "--task", "rte", *small_world, "--set", "training.device=mps")
    assert_one_line(device, 1, "this machine has no mps device")


def test_an_output_that_is_a_file(cli: Any, small_world: list[str]) -> None:
    Path("file").write_text("")
    assert_one_line(cli("train", "--task", "rte", *small_world, "--output", "file"), 2, "file", "Not a directory")


def test_a_truncated_adapter_is_refused(cli: Any, small_world: list[str]) -> None:
    assert cli("train", "--task", "rte", "--m", "4", *small_world).code == 0
    weights = next(Path("runs").rglob("adapter_model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    assert_one_line(cli("eval"), 1, str(weights), "damaged or incomplete")


def test_a_full_disk_ends_in_one_line_and_loses_nothing(cli: Any, small_world: list[str]) -> None:
    words = ["train", "--task", "sst2", "--strategy", "full", *small_world]
    assert cli("train", "--task", "sst2", "--strategy", "head", *small_world).code == 0  # the data is in the cache now
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        full = cli(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_one_line(full, 1, "cannot write", "free some space")
    folder = next(Path("runs").glob("sst2-full-*"))
    assert not (folder / "result.json").exists()
    assert not list(folder.rglob("*.safetensors"))
    assert not list(folder.glob("checkpoint-*"))
    assert cli(*words).code == 0


def test_a_failed_rerun_keeps_the_result_that_was_there(
    cli: Any, small_world: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "--task", "rte", "--m", "4", *small_world]
    assert cli(*words).code == 0
    folder = next(Path("runs").iterdir())
    stored = read_result(folder)
    before = load_file(folder / "adapter" / "adapter_model.safetensors")
    monkeypatch.setattr(save, "save_adapter", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert_one_line(cli(*words, "--force"), 1, "cannot write to", "No space left")
    assert read_result(folder) == stored
    after = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_bug_is_one_line_too_and_debug_shows_where(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("adapter_tune.config.compose.compose", broken)
    assert_one_line(cli("train", "--task", "rte"), 1, "RuntimeError: first line (unexpected; --debug shows where)")
    with pytest.raises(RuntimeError, match="second line"):
        main(["train", "--task", "rte", "--debug"])


def test_an_interruption_says_how_to_go_on(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adapter_tune.config.compose.compose", interrupted)
    output = cli("train", "--task", "rte")
    assert (output.code, output.err) == (130, "interrupted; run the same command again to resume\n")
    output = cli("train", "--task", "rte", "--force")
    assert (output.code, output.err) == (130, "interrupted\n")


def test_only_what_has_a_checkpoint_goes_on(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adapter_tune.commands.predict.run_or_newest", interrupted)
    output = cli("predict", "--split", "train", "--output", "out.csv")
    assert (output.code, output.err) == (130, "interrupted\n")
    monkeypatch.setattr("adapter_tune.config.compose.compose", interrupted)
    assert cli("train", "--task", "rte", "--dry-run").err == "interrupted\n"
    assert "run the same command again to resume" in cli("--debug", "train", "--task", "rte").err


def test_a_dry_run_refuses_what_the_run_refuses(cli: Any) -> None:
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    lacking = next(name for name, there in here.items() if not there)
    cases = [
        (["stsb", "--set", "training.class_weights=balanced"], 2, "balanced needs classes"),
        (["rte", "--set", "training.precision=fp16", "--set", "training.device=cpu"], 2, "fp16 needs a GPU"),
        (["rte", "--set", f"training.device={lacking}"], 1, f"this machine has no {lacking} device"),
    ]
    for options, code, message in cases:
        words = ["train", "--demo", "--task", *options]
        assert_one_line(cli(*words, "--dry-run"), code, message)
        assert_one_line(cli(*words), code, message)


def test_a_damaged_run_does_not_hide_the_others(cli: Any, small_world: list[str]) -> None:
    assert cli("train", "--task", "rte", "--m", "4", *small_world).code == 0
    whole, damaged = next(Path("runs").iterdir()), Path("runs/damaged/result.json")
    damaged.parent.mkdir()
    damaged.write_text('{"format": 1')
    os.utime(damaged, (4e9, 4e9))
    scored = cli("eval", "--runs", "runs")
    assert scored.code == 0, scored.err
    assert "runs/damaged/result.json: not valid JSON" in scored.err
    assert "this run is skipped" in scored.err
    assert f"using the newest run: {whole}" in scored.err
    shutil.rmtree(whole)
    assert_one_line(cli("eval", "--output", "runs"), 1, "runs/damaged/result.json: not valid JSON")


def test_validation_settles_data_of_the_users_own(cli: Any, backbone: str) -> None:
    Path("rows.csv").write_text("text,label\n" + "".join(f"the dog {n},{'ab'[n % 2]}\n" for n in range(20)))
    data = "data: {custom: {train_file: rows.csv}, max_length: 32}"
    text = f"task: custom\nmodel: {backbone}\n{data}\ntraining: {{max_steps: 1}}\n"
    Path("own.yaml").write_text(text)
    validated = cli("config", "validate", "own.yaml").out
    assert cli("train", "--config", "own.yaml").code == 0
    assert validated == f"own.yaml is valid: it would run in {next(Path('runs').iterdir())}\n"
    Path("rows.csv").unlink()
    assert_one_line(cli("config", "validate", "own.yaml"), 2, "rows.csv: no such file")
    Path("none.yaml").write_text("task: custom\n")
    assert_one_line(cli("config", "validate", "none.yaml"), 2, "task custom needs data")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["train", "--help"], ["config", "show", "default"], ["config", "validate", "default"]],
)
def test_light_commands_import_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from adapter_tune.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "adapter_tune", "--version"], check=True, capture_output=True)
    assert done.stdout.decode() == f"adapter-tune {__version__}\n"


def test_an_unreachable_hub_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    for name in ("HF_HUB_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub_errors, "getproxies", dict)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with caplog.at_level("INFO", logger="adapter_tune"):
        hub_errors.offline_if_unreachable()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert "cannot be reached" in caplog.text


@pytest.mark.parametrize("address", ["mirror.example", "https://", "https://a..b", "https://host:port", "ftp://host"])
def test_a_wrong_address_of_the_hub_is_said(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub_errors, "getproxies", dict)
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(SystemExit) as stop:
        main(["eval", "someone/rte"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: HF_ENDPOINT is not the address of a server; give https://HOST")
    main(["env"])
    assert "problem: hub cannot be read: UsageError: HF_ENDPOINT is not the address" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("address", "expected"),
    [("", ("huggingface.co", 443)), ("http://host", ("host", 80)), ("https://me:w@[::1]:8443/x", ("::1", 8443))],
)
def test_the_address_of_the_hub(address: str, expected: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert hub_errors.hub_address() == expected


@pytest.mark.parametrize("name", REGISTRY)
def test_one_strategy_in_full(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "strategies", name])
    out = capsys.readouterr().out
    cls = REGISTRY[name]
    assert cls.summary() in out
    assert cls.paper in out
    for option, text in meanings(cls).items():
        assert re.search(rf"^  {option} .*{re.escape(text)}$", out, re.MULTILINE)
    assert textwrap.dedent(cls.drawing).strip().splitlines()[0] in out


def test_the_papers_formula_and_share_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "strategies", "houlsby"])
    out = capsys.readouterr().out
    assert "2md + 3d + m = 2*64*768 + 3*768 + 64" in out
    assert "2,416,128 (2.21 %)" in out
    main(["list", "strategies"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  houlsby"))
    assert "m=64 layers=all activation=gelu" in line
    assert "2.21" in line
