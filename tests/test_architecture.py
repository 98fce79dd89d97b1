"""The shape of the project: arrows one way, every command and option in the documents."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
import typer

import adapter_tune
from adapter_tune.cli import app, main
from adapter_tune.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from adapter_tune.counts import Formula, Shape
from adapter_tune.explain import meanings
from adapter_tune.strategies import REGISTRY, Strategy, strategy

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "adapter_tune"
DOCUMENTS = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))


def layers() -> list[str]:
    """Modules and packages from the top down, as the document lists them."""
    block = (ROOT / "docs" / "architecture.md").read_text().split("```")[1]
    return [line.split()[0].removesuffix(".py").rstrip("/") for line in block.strip().splitlines()]


def imports(path: Path) -> set[str]:
    """The package's own modules that a file imports anywhere, type checking aside, by their top name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "adapter_tune":
            deep = node.module.split(".")[1:2]
            names.update(deep or [alias.name for alias in node.names])
        if isinstance(node, ast.Import):
            names.update(a.name.split(".")[1] for a in node.names if a.name.startswith("adapter_tune."))
    return {name for name in names if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()}


def files() -> dict[Path, str]:
    found = {path: path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    return {path: top for path, top in found.items() if top not in ("__init__", "__main__")}


def test_every_file_has_its_layer() -> None:
    assert sorted(set(files().values())) == sorted(layers())


@pytest.mark.parametrize("path", files(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_file_imports_only_from_below(path: Path) -> None:
    order, top = layers(), files()[path]
    above = {name for name in imports(path) if name != top and order.index(name) < order.index(top)}
    assert not above


def test_the_walk_sees_imports_inside_functions() -> None:
    assert {"compose", "runs", "report", "options"} <= imports(PACKAGE / "commands" / "train.py")
    assert "surgery" in imports(PACKAGE / "strategies" / "adapters.py")


def commands() -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(command: Any, name: str) -> None:
        found[name] = command
        for word, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {word}")

    walk(typer.main.get_command(app), "adapter-tune")
    return found


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_is_documented(name: str) -> None:
    command = commands()[name]
    assert name in DOCUMENTS
    assert command.help
    first, *sections = re.split(r"^## ", (ROOT / "docs" / "commands.md").read_text(), flags=re.M)
    words = name.split()[:2]
    own = first if len(words) == 1 else next(s for s in sections if " ".join(words) in s.partition("\n")[0])
    for parameter in command.params:
        for flag in (*parameter.opts, *parameter.secondary_opts):
            if flag.startswith("--") and flag != "--help":
                assert f"`{flag}`" in own, f"{name} {flag}"
                assert parameter.help


def test_every_kind_of_problem_is_in_help_and_document() -> None:
    document = next(line for line in DOCUMENTS.splitlines() if line.startswith("| `--problem` |"))
    (option,) = (parameter for parameter in commands()["adapter-tune train"].params if parameter.name == "problem")
    for kind in set(get_args(DataConfig.model_fields["problem"].annotation)) - {"auto"}:
        assert kind in option.help
        assert f"`{kind}`" in document


@pytest.mark.parametrize(
    "section", [RunConfig, ModelConfig, DataConfig, TrainingConfig, *REGISTRY.values()], ids=lambda s: s.__name__
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


def test_two_strategies_cannot_share_a_name() -> None:
    with pytest.raises(AssertionError, match="two strategies are called full"):
        strategy("full")(Strategy)
