"""The documentation's site: its navigation, its generated reference, a strict build that works offline."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

import adapter_tune
from adapter_tune import testing
from adapter_tune.adapters.family_shapes import bert_shape
from adapter_tune.adapters.published_sizes import published_size
from adapter_tune.cli import app
from adapter_tune.config.json_schema import option_descriptions
from adapter_tune.strategies import REGISTRY, parse_strategy
from adapter_tune.tasks.glue import TASKS
from tests.browser import Browser, needs_browser

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LOADED = re.compile(
    r"<(?:script|img|iframe)\b[^>]* src=\"(?:https?:)?//[^\"]+|<link\b[^>]* href=\"(?:https?:)?//[^\"]+"
)
"""What a page loads from elsewhere."""
MARKER = re.compile(r"^<!-- generated: (.+?) -->$", re.M)


@pytest.fixture(scope="module")
def scripts() -> Any:
    """The modules that write the site's pages; they are not part of the package."""
    sys.path.insert(0, str(ROOT / "scripts" / "site"))
    try:
        import site_pages
        import site_reference
        import site_tables
    finally:
        sys.path.pop(0)
    return {"pages": site_pages, "reference": site_reference, "tables": site_tables}


@pytest.fixture(scope="module")
def generated(scripts: Any) -> Callable[[str], str]:
    """What stands for a marker; each is written once, which takes seconds for some."""
    return cache(scripts["reference"].generated)


def navigation() -> list[str]:
    """Every page that the navigation names."""
    text = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text())

    def pages(entry: Any) -> list[str]:
        inner = entry.values() if isinstance(entry, dict) else entry
        return [entry] if isinstance(entry, str) else [page for each in inner for page in pages(each)]

    return pages(YAML(typ="safe").load(text)["nav"])


def test_the_navigation_has_every_document_once(scripts: Any) -> None:
    named = navigation()
    documents = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    tables = {name for name in documents if re.fullmatch(r"results/[^/]+/[^/]+/.+", name)}  # written by ``report``
    missing = sorted(documents - tables - set(named))
    assert not missing, f"add to nav in mkdocs.yml: {missing}"
    assert len(named) == len(set(named))
    for name in named:
        assert (ROOT / scripts["pages"].source(name)).is_file(), f"mkdocs.yml: nav names {name}, which does not exist"


def test_every_link_leads_to_a_file() -> None:
    """On a forge, too: links and pictures in every Markdown file of the repository, with the headings of documents."""
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]:
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            target, _, heading = link.partition("#")
            if "://" in link or link.startswith("mailto:"):
                continue
            file = path.parent / target if target else path
            assert file.exists(), f"{path.relative_to(ROOT)}: {link}"
            if heading and file.suffix == ".md" and not MARKER.search(file.read_text()):
                assert heading in headings(file), f"{path.relative_to(ROOT)}: {link}"


def headings(path: Path) -> set[str]:
    """The anchors of a document's headings, as a forge makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# The reference ------------------------------------------------------------------------------------------------------


def test_every_command_has_a_section_with_its_options(scripts: Any) -> None:
    """What is not in docs/commands.md by hand is put there from the code."""
    first, *sections = re.split(r"^## ", (DOCS / "commands.md").read_text(), flags=re.M)
    by_command = {section.split("`")[1].split()[1]: section for section in sections if "`adapter-tune" in section}
    for name in scripts["reference"].command_names():
        section = by_command.get(name.split()[0], "")
        assert f"<!-- generated: options {name} -->" in section, f"docs/commands.md needs a section with it for {name}"
    assert first.startswith("# Commands")


def test_the_generated_options_are_those_of_the_command_line(scripts: Any, generated: Callable[[str], str]) -> None:
    groups = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name in scripts["reference"].command_names():
        command = groups[name.split()[0]]
        command = command.commands[name.split()[1]] if " " in name else command
        text = generated(f"options {name}")
        for parameter in command.params:
            for flag in (*parameter.opts, *parameter.secondary_opts):
                assert not flag.startswith("--") or flag in text, f"{name} {flag}"
            assert scripts["tables"].cell(parameter.help) in text, f"{name} {parameter.name}"
        assert all(line in text for line in command.epilog.splitlines())
    assert "--install-completion" in generated("options adapter-tune")


def test_the_generated_reference_has_every_key_strategy_task_and_name(generated: Callable[[str], str]) -> None:
    configuration, strategies = generated("configuration"), generated("strategies")
    for path in option_descriptions():
        text = strategies if path.startswith("strategy.") and path != "strategy.name" else configuration
        assert f"`{path}`" in text or path == "strategy.name", path
    assert all(f"## `{name}`" in strategies for name, cls in REGISTRY.items() if cls.__module__.startswith("adapter_"))
    assert all(f"`{name}`" in generated("tasks") for name in TASKS)
    assert all(f"`{name}`" in generated("sweep") for name in ("parameters", "average_over", "low"))
    assert "`paper/sweeps/sizes-small`" in generated("shipped")
    names = [f"{module.__name__}.{name}" for module in (adapter_tune, testing) for name in module.__all__]
    assert all(f"heading: {name}\n" in generated("python") for name in names if not name.endswith("__version__"))


def test_every_marker_in_the_documents_is_generated(generated: Callable[[str], str]) -> None:
    markers = [marker for path in DOCS.rglob("*.md") for marker in MARKER.findall(path.read_text())]
    assert len(markers) > 20
    assert all(generated(marker) for marker in markers)
    with pytest.raises(KeyError):
        generated("options trian")


def test_a_public_name_without_a_docstring_is_refused(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_tune, "__all__", ["_HOME"])
    monkeypatch.setattr(adapter_tune, "_HOME", lambda: None)
    with pytest.raises(ValueError, match=r"adapter_tune\._HOME has no docstring"):
        scripts["reference"].generated("python")


def test_links_out_of_the_documents_become_pages_or_text(scripts: Any) -> None:
    change = scripts["pages"].with_links_of_the_site
    text = "[a](../configs/demo.yaml) [b](../SECURITY.md#x) [c](../tests) [d](demo.md) [f](../nothing.md)"
    assert change(text, "hub.md") == (
        "[a](repository/configs/demo.yaml.md) [b](repository/SECURITY.md#x) c [d](demo.md) [f](../nothing.md)"
    )
    assert change("[a](docs/hub.md#x)\n```sh\n[b](configs)\n```\n", "repository/CHANGELOG.md") == (
        "[a](../hub.md#x)\n```sh\n[b](configs)\n```\n"
    )
    assert change("[docs/hub.md](docs/hub.md#x)", "repository/README.md") == (
        "[Runs on the Hugging Face Hub](../hub.md#x)"
    )
    pages = scripts["pages"].outside_pages(["docs/demo.md"])
    assert "task: mnli" in pages["repository/configs/demo.yaml.md"]


def test_the_numbers_of_the_concepts_are_those_of_the_formula() -> None:
    """docs/concepts/parameters.md: m = 8, 64, 256 in BERT-base and BERT-large."""
    text = (DOCS / "concepts" / "parameters.md").read_text()
    for m in (8, 64, 256):
        cells = [str(m)]
        for model in ("google-bert/bert-base-uncased", "google-bert/bert-large-uncased"):
            shape = bert_shape(published_size(model))
            formula = parse_strategy({"name": "houlsby", "m": m}).formula(shape)
            cells += [f"{formula.per_adapter:,}", f"{100 * formula.trained / shape.total:.2f} %"]
        assert f"| {' | '.join(cells)} |" in text
    base = bert_shape(published_size("google-bert/bert-base-uncased"))
    formula = parse_strategy({"name": "houlsby", "m": 64}).formula(base)
    for number in (formula.adapters, formula.layer_norm, formula.trained, formula.trained + 2 * base.d + 2, base.total):
        assert f"{number:,}" in text
    assert 2 * 64 * base.d + 3 * base.d + 64 == formula.per_adapter == 100_672


def test_every_strategy_is_among_the_methods() -> None:
    table = (DOCS / "methods.md").read_text().split("## ")[0]
    own = [name for name, cls in REGISTRY.items() if cls.__module__.startswith("adapter_tune.")]
    assert not [name for name in own if f"`{name}`" not in table]


# The site -----------------------------------------------------------------------------------------------------------


def build(folder: Path, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    words = ["-m", "mkdocs", "build", "--strict", "--config-file", str(config), "--site-dir", str(folder)]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs adapter-tune[docs]")
def test_the_site_is_built_strictly_and_asks_nobody(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        loaded = LOADED.findall(page.read_text())
        assert not loaded, f"{page}: {loaded}"
    assert "generated:" not in (site / "commands.html").read_text()

    assert "--resident" in (site / "commands.html").read_text()
    assert "check_strategy" in (site / "reference" / "python.html").read_text()
    assert (site / "search" / "search_index.js").is_file()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs adapter-tune[docs]")
@needs_browser
def test_pages_fit_screen_and_phone_and_the_search_works_from_files(site: Path, browser: Browser) -> None:
    for width in (1280, 390):
        browser.resize(width)
        for page in ("index", "tutorial", "commands", "concepts/method", "reference/configuration", "reference/python"):
            browser.open((site / f"{page}.html").as_uri())
            assert browser.run("document.documentElement.scrollWidth") <= width, page
            browser.screenshot(f"site-{page.replace('/', '-')}-{width}.png")
    browser.resize(1280)
    browser.open((site / "index.html").as_uri())
    browser.wait_for("typeof __index === 'object'")
    browser.type(".md-search__input", "fingerprint")
    browser.wait_for("document.querySelectorAll('.md-search-result__item').length > 3")
    assert "concepts/fingerprints.html" in browser.run("document.querySelector('.md-search-result__link').href")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs adapter-tune[docs]")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[x](nowhere.md)", "nowhere.md"),
        ("[x](demo.md#nowhere)", "nowhere"),
        ("<!-- generated: options trian -->", "options trian"),
        ("::: adapter_tune.runs.run.walk", "adapter_tune.runs.run.walk"),
    ],
)
def test_a_broken_link_or_name_fails_the_build(line: str, message: str, tmp_path: Path) -> None:
    for name in ("mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("docs", "scripts", "configs", "examples", "adapter_tune"):
        shutil.copytree(ROOT / name, tmp_path / name)
    index = tmp_path / "docs" / "index.md"
    index.write_text(f"{index.read_text()}\n{line}\n")
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode != 0
    assert message in done.stderr
