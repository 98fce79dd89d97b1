"""Strategies of other installed packages, through entry points."""

import logging
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from adapter_tune.cli import main
from adapter_tune.foundation.errors import UsageError
from adapter_tune.strategies import REGISTRY, Strategy, registry, strategy
from adapter_tune.strategies.registry import ENTRY_POINTS
from tests.helpers import STRATEGY_MODULE

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with one module into a folder of its own, as an installer does."""
    monkeypatch.setattr(REGISTRY, "_classes", dict(REGISTRY))
    monkeypatch.setattr(REGISTRY, "_complete", False)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def add(source: str, package: str = "others", value: str | None = None) -> None:
        (tmp_path / f"{package}.py").write_text(source)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}-strategies\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{package} = {value or package}\n")
        names.append(package)

    yield add
    for name in names:
        sys.modules.pop(name, None)


def test_a_strategy_of_another_package_is_on_the_command_line(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(STRATEGY_MODULE)
    main(["list", "strategies", "nothing"])
    main(["count-params", "--strategy", "nothing"])
    output = capsys.readouterr()
    assert "Nothing is trained." in output.out
    assert not output.err


def test_nothing_is_imported_before_the_registry_is_read(install: Install) -> None:
    install(STRATEGY_MODULE)
    strategy("mine")(type("Mine", (Strategy,), {"__doc__": "Mine."}))
    assert "others" not in sys.modules
    assert "nothing" in REGISTRY
    assert "others" in sys.modules


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import a_missing_module", "ModuleNotFoundError: No module named 'a_missing_module'"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        (STRATEGY_MODULE + "\n1 / 0", "ZeroDivisionError: division by zero"),
        ("import adapter_tune", "others registers no strategy; decorate its classes with @strategy(...)"),
        (
            STRATEGY_MODULE + STRATEGY_MODULE.replace('"nothing"', '"full"'),
            "others.Nothing: the name is taken by adapter_tune.strategies.baselines.Full; rename one",
        ),
        (
            STRATEGY_MODULE.replace('"nothing"', '"No Thing"'),
            "strategy 'No Thing' of others.Nothing: a name has lower-case letters",
        ),
        (STRATEGY_MODULE.replace('"""Nothing is trained."""', ""), "others.Nothing: it has no docstring"),
        (
            STRATEGY_MODULE.replace("    learning_rate", "    rate"),
            "it has no learning_rate; add learning_rate: ClassVar[float]",
        ),
        (
            STRATEGY_MODULE.replace("    learning_rate", "    size: int\n    learning_rate"),
            "option size has no default",
        ),
        (STRATEGY_MODULE.replace("Formula()", "Formula(adapters=1 // 0)"), "ZeroDivisionError"),
    ],
)
def test_a_package_that_does_not_work_is_one_warning_and_stops_nothing(
    install: Install, capsys: pytest.CaptureFixture[str], source: str, cause: str
) -> None:
    install(source)
    for _ in range(2):
        main(["count-params", "--strategy", "houlsby"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the strategies of the package others-strategies are not available: ")
    assert cause in line
    assert line.endswith("(entry point others = others); update or uninstall others-strategies")
    assert "nothing" not in REGISTRY  # all strategies of a package, or none


def test_a_module_that_is_missing_is_named(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install(STRATEGY_MODULE, value="others.inner")
    with caplog.at_level(logging.WARNING, logger="adapter_tune"):
        assert "nothing" not in REGISTRY
    assert "'others' is not a package" in caplog.text


def test_of_two_packages_with_one_name_both_are_named(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    for package in ("first", "second"):
        install(STRATEGY_MODULE, package)
    with caplog.at_level(logging.WARNING, logger="adapter_tune"):
        provider = REGISTRY["nothing"].__module__
    refused = ({"first", "second"} - {provider}).pop()
    assert len(caplog.records) == 1
    assert f"of the package {refused}-strategies" in caplog.text
    assert f"'nothing' of {refused}.Nothing: the name is taken by {provider}.Nothing" in caplog.text


def test_packages_that_share_a_namespace_do_not_share_a_failure(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "company").mkdir()
    for name, source in (("a_good", STRATEGY_MODULE), ("b_bad", "1 / 0")):
        install("", name, f"company.{name}")
        (tmp_path / "company" / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, f"company.{name}", raising=False)
    monkeypatch.setattr(registry, "entry_points", lambda group: sorted(entry_points(group=group), key=lambda e: e.name))
    with caplog.at_level(logging.WARNING, logger="adapter_tune"):
        assert "nothing" in REGISTRY
    assert "of the package b_bad-strategies are not available" in caplog.text


def test_two_strategies_cannot_share_a_name() -> None:
    with pytest.raises(UsageError, match=r"taken by adapter_tune\.strategies\.baselines\.Full"):
        strategy("full")(Strategy)


def test_a_class_that_is_defined_again_replaces_the_earlier_one(install: Install) -> None:
    """As when a cell of a notebook runs twice."""
    first, second = (type("Mine", (Strategy,), {"__doc__": text}) for text in "ab")
    strategy("mine")(first)
    assert strategy("mine")(second) is REGISTRY["mine"]
