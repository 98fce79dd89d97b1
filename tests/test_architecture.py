"""The structure of the project: files import only from below; all commands and options are documented."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
import typer

import adapter_tune
from adapter_tune.adapters.formula import Formula, Shape
from adapter_tune.cli import app, main
from adapter_tune.config.schema import CustomDataConfig, DataConfig, ModelConfig, RunConfig, TrainingConfig
from adapter_tune.foundation.validation_messages import meanings
from adapter_tune.strategies import REGISTRY, Strategy

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "adapter_tune"
DOCUMENTS = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))


def listed() -> list[str]:
    """Subpackages and files from the top down, as the document lists them; a subpackage comes before its own files."""
    block = (ROOT / "docs" / "architecture.md").read_text().split("```text\n")[1].split("```")[0]
    names, subpackage = [], ""
    for line in filter(str.strip, block.splitlines()):
        name = line.split()[0].removesuffix(".py")
        if line.startswith(" "):
            names.append(f"{subpackage}.{name.rstrip('/').replace('/', '.')}")
        else:
            subpackage = name.rstrip("/")
            names.append(subpackage)
    return names


def name_of(path: Path) -> str:
    """A file's dotted name in the package; ``__init__.py`` has its subpackage's name, the package's own has none."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def files() -> dict[Path, str]:
    """Every file of the package and its name."""
    return {path: name_of(path) for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__main__.py"}


def imports(path: Path) -> set[str]:
    """The package's own files that a file imports anywhere, for type checking, too; "" is the public interface."""
    known = set(files().values())
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names if alias.name.split(".")[0] == "adapter_tune")
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            if module.split(".")[0] == "adapter_tune":
                names.update(f"{module}.{alias.name}" for alias in node.names)
    inner = {name.partition(".")[2] for name in names} - {"__version__"}
    return {name if name in known else name.rpartition(".")[0] for name in inner}


def test_every_room_and_file_is_listed_once() -> None:
    names, existing = listed(), set(files().values()) - {""}
    assert not existing - set(names), "each needs a line in the list of docs/architecture.md"
    assert not set(names) - existing, "docs/architecture.md lists what does not exist"
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", files(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_file_imports_only_from_below(path: Path) -> None:
    order = ["", *listed()]
    own = files()[path]
    assert own in order, "it needs a line in the list of docs/architecture.md"
    above = {name for name in imports(path) if name != own and order.index(name) < order.index(own)}
    assert not above


def test_a_room_imports_only_rooms_below() -> None:
    subpackages = list(dict.fromkeys(name.split(".")[0] for name in listed()))
    for path, own in files().items():
        subpackage = own.split(".")[0]
        if subpackage:
            others = {name.split(".")[0] for name in imports(path)} - {subpackage}
            assert others <= set(subpackages[subpackages.index(subpackage) + 1 :]), path


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*/__init__.py")), ids=lambda p: p.parent.name)
def test_a_room_says_what_it_is_and_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert path.parent.name == "strategies" or len(tree.body) == 1


def test_the_tests_have_the_same_rooms() -> None:
    subpackages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")} <= subpackages


def test_no_test_module_imports_another() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests":
                assert node.module in ("tests.browser", "tests.documents", "tests.helpers", "tests.hub_server"), path


def test_the_walk_sees_imports_inside_functions() -> None:
    assert {"config.compose", "runs.run", "report.command_output", "commands.options.training"} <= imports(
        PACKAGE / "commands" / "train.py"
    )
    assert "adapters.surgery" in imports(PACKAGE / "strategies" / "injection.py")


def commands() -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(command: Any, name: str) -> None:
        found[name] = command
        for word, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {word}")

    walk(typer.main.get_command(app), "adapter-tune")
    return found


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_has_a_help(name: str) -> None:
    """tests/test_site.py checks that the documents have a section for each command, with all of its options."""
    command = commands()[name]
    assert name in DOCUMENTS
    assert command.help
    assert all(parameter.help for parameter in command.params)


def test_every_kind_of_problem_is_in_the_help() -> None:
    (option,) = (parameter for parameter in commands()["adapter-tune train"].params if parameter.name == "problem")
    for kind in set(get_args(CustomDataConfig.model_fields["problem"].annotation)) - {"auto"}:
        assert kind in option.help


@pytest.mark.parametrize(
    "section",
    [RunConfig, ModelConfig, DataConfig, CustomDataConfig, TrainingConfig, *REGISTRY.values()],
    ids=lambda s: s.__name__,
)
def test_every_option_says_what_it_is(section: Any) -> None:
    assert meanings(section).keys() == section.model_fields.keys()
    assert all(meanings(section).values())


def test_public_names_can_be_imported_and_are_documented() -> None:
    for name in adapter_tune.__all__:
        value = getattr(adapter_tune, name)
        assert value.__doc__
    with pytest.raises(AttributeError, match="nothing"):
        adapter_tune.nothing  # noqa: B018


def test_every_strategy_says_what_it_is_and_where_it_is_from() -> None:
    for name, cls in REGISTRY.items():
        assert cls.name == name
        assert cls.summary().endswith(".")
        assert cls.paper
        assert cls.drawing.strip()
        assert cls.learning_rate > 0


def test_a_file_in_the_folder_is_all_that_a_new_strategy_needs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().split("```python")[1].split("```")[0]
    (tmp_path / "mine.py").write_text(text)
    code = (  # the folder of strategies, with one more file in it
        "import sys; from importlib import util\n"
        "spec = util.find_spec('adapter_tune.strategies')\n"
        f"spec.submodule_search_locations.append({str(tmp_path)!r})\n"
        "sys.modules[spec.name] = util.module_from_spec(spec)\n"
        "spec.loader.exec_module(sys.modules[spec.name])\n"
        "from adapter_tune.cli import main; main(['list', 'strategies', 'embeddings'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "Only the embeddings are trained." in done.stdout


def test_a_new_strategy_is_one_class(small_world: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The example in docs/architecture.md: registered, it trains, counts, saves, lists, and is on the command line."""
    text = (ROOT / "docs" / "architecture.md").read_text().split("```python")[1].split("```")[0]
    scope: dict[str, Any] = {"ClassVar": ClassVar, "Formula": Formula, "Shape": Shape, "Strategy": Strategy}
    try:
        exec(text, scope)
        for words in (
            ["train", "--task", "rte", "--strategy", "embeddings", *small_world],
            ["eval", "--output", small_world[3]],
            ["count-params", "--strategy", "embeddings"],
            ["list", "strategies"],
        ):
            main(words)
        out = capsys.readouterr().out
    finally:
        REGISTRY.pop("embeddings", None)
    assert "23,835,648" in out  # word, position and token-type embeddings of BERT-base
    assert "Only the embeddings are trained." in out
