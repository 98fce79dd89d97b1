"""Hooks of MkDocs: the reference is written from the code, and pages may link to any file of the repository."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from site_pages import outside_pages, place, source, with_links_of_the_site
from site_reference import generated

_MARKER = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add a page for every file outside of ``docs/`` that a document links to or that the navigation names."""
    documents = [source(each.src_uri) for each in files.documentation_pages()]
    documents += [source(each) for each in _in_navigation(config.nav) if place(source(each)) not in files.src_uris]
    for place_in_site, text in outside_pages(documents).items():
        files.append(File.generated(config, place_in_site, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the reference where its markers are, and change the links."""
    return _MARKER.sub(_generated, with_links_of_the_site(markdown, page.file.src_uri))


def on_page_content(html: str, **_: Any) -> str:
    """Remove the flags of doctest, which are for a tool and not for a reader."""
    return re.sub(r" *# doctest: \+SKIP", "", html)


def _generated(match: re.Match[str]) -> str:
    try:
        return generated(match[1])
    except KeyError:
        raise PluginError(f"<!-- generated: {match[1]} -->: nothing of this name is generated") from None
    except ValueError as error:
        raise PluginError(str(error)) from None


def _in_navigation(entry: Any) -> list[str]:
    """Return the pages in the navigation, at any depth."""
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry or ()
    return [path for each in inner for path in _in_navigation(each)]
