from pathlib import Path
from typing import Any

import pytest

from adapter_tune.config.compose import compose
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import RunConfig, parse_config
from adapter_tune.config.shipped import find_config, shipped_configs
from adapter_tune.config.yaml_files import read_yaml, to_yaml
from adapter_tune.foundation.errors import UsageError
from adapter_tune.strategies import REGISTRY
from adapter_tune.tasks.glue import TASKS


@pytest.fixture
def yaml(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        path = tmp_path / "my.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_precedence_is_defaults_yaml_flags_set(yaml: Any) -> None:
    file = yaml("task: rte\ntraining: {epochs: 5, batch_size: 8, seed: 1}\n")
    config = compose(file, {"--batch-size training.batch_size": 16, "--seed training.seed": 2}, ["training.seed=3"])
    t = config.training
    assert (t.warmup, t.epochs, t.batch_size, t.seed) == (0.1, 5, 16, 3)


def test_a_plain_string_is_the_models_id_and_the_strategys_name(yaml: Any) -> None:
    config = compose(yaml("task: rte\nmodel: some/bert\nstrategy: full\n"), sets=["model.pooler=train"])
    assert (config.model.id, config.model.pooler, config.strategy.name) == ("some/bert", "train", "full")


def test_another_strategy_drops_the_options_of_the_one_before(yaml: Any) -> None:
    file = yaml("task: rte\nstrategy: {name: houlsby, m: 8, activation: relu}\n")
    assert compose(file, {"--strategy strategy.name": "full"}).strategy == REGISTRY["full"]()
    assert compose(file, {"--strategy strategy.name": "houlsby"}).m == 8
    assert compose(file, {"--m strategy.m": 4, "--strategy strategy.name": "houlsby"}).m == 4


@pytest.mark.parametrize("name", REGISTRY)
def test_the_learning_rate_is_the_strategys_own_unless_named(name: str) -> None:
    assert resolved(parse_config({"task": "rte", "strategy": name})).learning_rate == REGISTRY[name].learning_rate
    named = parse_config({"task": "rte", "strategy": name, "training": {"learning_rate": 0.5}})
    assert resolved(named).learning_rate == 0.5


def test_the_yaml_that_is_written_gives_the_same_configuration(tmp_path: Path) -> None:
    config = compose(None, {"--task task": "stsb", "--m strategy.m": 8}, ["training.learning_rate=1e-3"])
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config.model_dump()))
    again = compose(str(path))
    assert again == config
    assert resolved(again).hash() == resolved(config).hash()


def test_numbers_and_words_are_those_of_yaml_1_2(yaml: Any) -> None:
    values, _ = read_yaml(Path(yaml("a: 3e-4\nb: on\nc: no\nd: null\ne: 0.1\n")))
    assert values == {"a": 3e-4, "b": "on", "c": "no", "d": None, "e": 0.1}


def test_an_empty_section_is_the_default(yaml: Any) -> None:
    assert compose(yaml("task: rte\ntraining:\n  # epochs: 5\n")) == parse_config({"task": "rte"})


def test_the_run_folder_has_task_strategy_size_and_hash() -> None:
    assert resolved(parse_config({"task": "rte"})).folder.name.startswith("rte-houlsby-m64-")
    assert resolved(parse_config({"task": "rte", "strategy": "full"})).folder.name.startswith("rte-full-")
    assert len(resolved(parse_config({"task": "rte"})).hash()) == 8


def test_the_hash_is_over_what_differs_from_the_defaults() -> None:
    def mark(**values: Any) -> str:
        return resolved(parse_config({"task": "rte", **values})).hash()

    plain = mark()
    assert plain == "d1f64d04"  # a new option must orphan no finished run
    assert plain == mark(output="elsewhere") == mark(strategy="houlsby") == mark(training={"epochs": 3})
    assert plain == mark(training={"learning_rate": 3e-4})
    others = [
        mark(training={"epochs": 4}),
        mark(strategy={"m": 8}),
        mark(strategy="full"),
        mark(model="x/y"),
        mark(data={"max_length": 64}),
        mark(training={"max_steps": 4}),
        mark(training={"seed": 4}),
        resolved(parse_config({"task": "cola"})).hash(),
    ]
    assert len({plain, *others}) == 9


WRONG: list[tuple[str, list[str], str]] = [
    ("task: rte\ninit_from: ''\n", [], r"my.yaml:2: init_from.run: is empty; give a value, or remove the option"),
    ("task: mnly\n", [], r"my.yaml:1: task: unknown task 'mnly'; did you mean 'mnli'\?"),
    ("task: [rte]\n", [], r"task: should be the name of a task, got \['rte'\]"),
    ("training: {}\n", [], r"task: is missing: give --task"),
    ("task: rte\ntrainin: {}\n", [], r"my.yaml:2: trainin: unknown option .* did you mean 'training'\?"),
    ("task: rte\ntraining:\n  lerning_rate: 1\n", [], r"my.yaml:3: training.lerning_rate: .*'learning_rate'\?"),
    ("task: rte\nmodel: {idd: x}\n", [], r"my.yaml:2: model.idd: .* did you mean 'id'\?"),
    ("task: rte\nstrategy: {name: hulsby}\n", [], r"my.yaml:2: strategy.name: .* did you mean 'houlsby'\?"),
    ("task: rte\nstrategy: {mm: 3}\n", [], r"my.yaml:2: strategy.mm: .* did you mean 'm'\?.*strategy houlsby"),
    ("task: rte\nstrategy: {name: full, m: 3}\n", [], r"strategy.m: unknown option 'm'; Known: none \(strategy full\)"),
    ("task: rte\nstrategy: 3\n", [], r"strategy: should be a name or a section"),
    (
        "task: rte\nstrategy: {m: 0}\n",
        [],
        r"strategy.m: should be a whole number from 1 to 65536, or a list with one number per layer, got 0",
    ),
    ("task: rte\nstrategy: {m: -5}\n", [], r"got -5"),
    (
        "task: rte\nstrategy: {m: abc}\n",
        [],
        r"strategy.m: should be a whole number from 1 to 65536, or a list with one number per layer, got 'abc'",
    ),
    (
        "task: rte\nstrategy: {m: 6.5}\n",
        [],
        r"strategy.m: should be a whole number from 1 to 65536, or a list with one number per layer, got 6.5",
    ),
    ("task: rte\nstrategy: {init_std: 0}\n", [], r"strategy.init_std: should be greater than 0, got 0"),
    ("task: rte\nstrategy: {activation: gelo}\n", [], r"should be 'gelu', .*got 'gelo'"),
    ("task: rte\ntraining: {max_steps: true}\n", [], r"training.max_steps: should be a valid integer, got True"),
    ("task: rte\ntraining: {learning_rate: .nan}\n", [], r"training.learning_rate: should be .*got nan"),
    ("task: rte\ntraining: {epochs: .inf}\n", [], r"training.epochs: should be .*got inf"),
    ("task: rte\ntraining: {warmup: 1}\n", [], r"training.warmup: should be less than 1"),
    ("task: rte\ntraining: {device: gpu}\n", [], r"training.device: should be 'auto', 'cpu', 'cuda' or 'mps'"),
    ("task: rte\ntraining: 5\n", [], r"my.yaml:2: training: should be a section of options with their values, got 5"),
    (
        "task: rte\nstrategy: {scale: learned}\n",
        [],
        r"my.yaml:2: strategy.scale: should be a valid number or 'learnt' or 'channel', got 'learned' \(strategy houl",
    ),
    ("task: rte\ndata: {custom: {holdout: 0.2}}\n", [], r"my.yaml:2: data.custom.holdout: is only for task custom"),
    ("task: rte\ndata: {custom: {digest: abc}}\n", [], r"my.yaml:2: data.custom.digest: is only for task custom"),
    (
        "task: custom\ndata: {custom: {train_file: a.csv}}\n",
        ["data.custom.digest=a"],
        r"--set: data.custom.digest is set by the run",
    ),
    (
        "task: custom\ndata: {custom: {labels: [a, b], problem: regression}}\n",
        [],
        r"my.yaml:2: data.custom.labels: are names of class",
    ),
    (
        "task: custom\ndata: {train_file: a.csv}\n",
        [],
        r"data.train_file: has moved to data.custom.train_file",
    ),
    ("task: custom\n", ["data.metric=f1"], r"--set: data.metric: has moved to data.custom.metric"),
    ("task: rte\ntraining.epochs: 1\n", [], r"my.yaml:2: 'training.epochs' should be 'epochs' in a section 'training'"),
    ("task: rte\nmodel: {pooler: frozen}\nstrategy: full\n", [], r"my.yaml:2: model.pooler: strategy full also trains"),
    ("task: rte\n", ["training.epochs=x"], r"--set: training.epochs: should be a valid number, got 'x'"),
    ("task: rte\n", ["training.epoch=2"], r"--set: training.epoch: unknown option .* did you mean 'epochs'\?"),
    ("task: rte\n", ["epochs"], r"write it as section.key=value"),
    ("task: rte\n", ["=3"], r"write it as section.key=value"),
    ("task: rte\n", ["training.epochs=[1"], r"--set training.epochs: cannot read '\[1'"),
    ("task: rte\n", ["task.x=3"], r"task.x: 'task' is not a section but 'rte'"),
    ("task: rte\n  x: [1\n", [], r"my.yaml:2:\d+: not valid YAML"),
    ("task: rte\ntask: cola\n", [], r"my.yaml:2:1: not valid YAML: found duplicate key"),
    ("- rte\n", [], r"my.yaml: should contain keys and values, .* got list"),
    ("task: rte\n1: rte\n", [], r"1: unknown option '1'"),
    ("task: rte\ntraining: {seed: 99999999999}\n", [], r"training.seed: should be less than 4294967296"),
    ("task: rte\nstrategy: {m: 9999999999999999999999}\n", [], r"strategy.m: should be a whole number from 1 to 65536"),
    ("task: rte\ntraining: {batch_size: 9999999999}\n", [], r"training.batch_size: should be less than or equal"),
    ("task: rte\ndata: {max_length: 9999999999}\n", [], r"data.max_length: should be less than or equal"),
    ("task: rte\ntraining: {learning_rate: 1e300}\n", [], r"training.learning_rate: should be less than or equal"),
    ("[" * 3000, [], r"my.yaml: not valid YAML"),
    ("task: &a [*a]\n", [], r"my.yaml"),
    ("task: " + "9" * 5000 + "\n", [], r"my.yaml: not valid YAML"),
    ("task: !!int x\n", [], r"my.yaml: not valid YAML"),
    ("task: 2024-99-99\n", [], r"my.yaml: not valid YAML"),
    ("task: rte\n\nx\0y: 1\n", [], r"my.yaml:3:2: not valid YAML"),
    ("task: rte\n", ["strategy.m=!!bool x"], r"--set strategy.m: cannot read"),
    ("task: rte\n", ["training="], r"--set training: the value is empty"),
    ("task: !!python/object:os.system x\n", [], r"my.yaml:1:7: not valid YAML"),
]


@pytest.mark.parametrize(("text", "sets", "message"), WRONG, ids=[f"{t!r} {s}" for t, s, _ in WRONG])
def test_what_is_wrong_is_refused_in_one_line(yaml: Any, text: str, sets: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        compose(yaml(text), sets=sets)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("demo", [False, True])
def test_a_dotted_key_is_refused_with_and_without_the_demo(yaml: Any, demo: bool) -> None:
    with pytest.raises(UsageError, match=r"'training\.epochs' should be 'epochs' in a section 'training'"):
        compose(yaml("task: rte\ntraining.epochs: 1\n"), demo=demo)


def test_the_origin_of_a_value_is_where_it_was_written_itself() -> None:
    flags = {"--task task": "custom", "--train-file data.custom.train_file": "two.csv"}
    with pytest.raises(UsageError, match=r"^--set: data: should be a section of options with their values, got 3$"):
        compose(flags=flags, sets=["data=3"])


def test_nested_aliases_are_read_in_no_time(yaml: Any) -> None:
    lines = ["task: rte", "a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(10)) + "}"]
    lines += [f"a{n}: &a{n} {{" + ", ".join(f"k{i}: *a{n - 1}" for i in range(10)) + "}" for n in range(1, 12)]
    with pytest.raises(UsageError, match="unknown option 'a0'"):
        compose(yaml("\n".join(lines)))


def test_sections_are_merged_and_short_forms_keep_what_is_beside_them(yaml: Any) -> None:
    config = compose(None, {"--task task": "rte", "--lr training.learning_rate": 0.5}, ["training={epochs: 2}"])
    assert (config.training.learning_rate, config.training.epochs) == (0.5, 2)
    config = compose(None, {"--task task": "rte", "--train-pooler model.pooler": "train"}, ["model=some/bert"])
    assert (config.model.id, config.model.pooler) == ("some/bert", "train")
    config = compose(yaml("task: rte\ntraining:\nmodel:\nstrategy:\n"), {"--lr training.learning_rate": 0.5})
    assert config.training.learning_rate == 0.5
    config = compose(yaml("task: rte\nstrategy:\nmodel:\n"), {"--m strategy.m": 8}, ["model.id=x/y"])
    assert (config.m, config.model.id) == (8, "x/y")
    config = compose(None, {"--task task": "rte", "--m strategy.m": 8}, ["strategy={activation: relu}"])
    assert config.strategy.to_dict()["activation"] == "relu"
    assert config.m == 8


def test_a_folder_does_not_hide_a_shipped_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glue" / "mrpc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert compose("glue/mrpc").task == "mrpc"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.yaml: No such file"):
        compose("nowhere.yaml")
    with pytest.raises(UsageError, match=r"no file 'glue/mnly', .* did you mean 'glue/mnli'\?"):
        compose("glue/mnly")
    (tmp_path / "latin.yaml").write_bytes(b"task: rt\xe9\n")
    with pytest.raises(UsageError, match=r"latin.yaml: not a UTF-8 text file"):
        compose(str(tmp_path / "latin.yaml"))


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_configuration_is_valid(name: str) -> None:
    assert find_config(name).is_file()
    assert isinstance(compose(name), RunConfig)


def test_there_is_a_configuration_for_every_task() -> None:
    assert {name for name in shipped_configs() if name.startswith("glue/")} == {f"glue/{task}" for task in TASKS}
    for task in TASKS:
        assert compose(f"glue/{task}").task == task


def _paths(values: dict[str, Any], prefix: str = "") -> set[str]:
    inner = {f"{prefix}{k}": v for k, v in values.items()}
    return set(inner).union(*(_paths(v, f"{k}.") for k, v in inner.items() if isinstance(v, dict)))


def test_the_documented_default_has_every_option_with_its_default() -> None:
    documented, _ = read_yaml(find_config("default"))
    assert compose("default") == parse_config({"task": "mnli"})
    assert _paths(documented) == _paths(parse_config({"task": "mnli"}).model_dump())
