"""The block for a bug report: every section, and one line for each problem. No section can make it fail."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from adapter_tune.environment import caches, hub, machine, packages
from adapter_tune.environment.variables import variables, without_secrets
from adapter_tune.foundation.errors import first_line

_MIB = 2**20


def environment() -> dict[str, Any]:
    """Return every section of the block by name, without secrets; ``problems`` has one line for each problem."""
    problems: list[str] = []

    def section(name: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Exception as error:  # a bug report needs the other sections
            problems.append(f"{name} cannot be read: {type(error).__name__}: {first_line(error)}")
            return {}

    known = dict(os.environ)
    sections = {
        "versions": section("versions", packages.versions),
        "machine": section("machine", machine.machine),
        "compute": section("compute", machine.compute),
        "hub": section("hub", hub.hub_state),
        "variables": variables(known),
    }
    checked = section("caches", caches.caches) or []
    sections["caches"] = [asdict(each) for each in checked]
    problems += section("packages", packages.problems) or []
    problems += caches.problems(checked)
    problems += section("OpenMP", machine.openmp_problems) or []
    problems += section("GPU", machine.gpu_problems) or []
    block: dict[str, Any] = without_secrets({**sections, "problems": list(dict.fromkeys(problems))}, known)
    return block


def as_text(sections: Mapping[str, Any]) -> str:
    """Return the block as lines; the home folder is written as ~."""
    lines = []
    for name in ("versions", "machine", "compute"):
        lines += [name, *_facts(sections[name])]
    lines += ["caches", *(f"  {_cache_line(each)}" for each in sections["caches"])]
    lines += [f"hub: {sections['hub'] or 'unknown'}"]
    lines += ["variables", *(_facts(sections["variables"]) or ["  none"])]
    lines += [f"problem: {problem}" for problem in sections["problems"]] or ["problems: none"]
    return _without_home("\n".join(lines))


def _without_home(text: str) -> str:
    """The text with ~ for the home folder, and for nothing that only begins with the same letters."""
    home = os.path.expanduser("~")  # noqa: PTH111  (Path.home() fails for a user without a home folder)
    return text if home in ("/", "~") else re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)


def _facts(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in facts.items():
        text = "; ".join(value) or "none" if isinstance(value, list) else value
        lines.append(f"  {name}: {text}")
    return lines


def _cache_line(each: Mapping[str, Any]) -> str:
    more = "" if each["is_complete"] else "more than "
    size = "" if each["bytes"] is None else f", {more}{each['bytes'] / _MIB:,.1f} MiB"
    free = "" if each["free_bytes"] is None else f", {each['free_bytes'] / _MIB:,.0f} MiB free"
    state = f"NOT writable ({each['problem']})" if each["problem"] else "writable"
    return f"{each['variable']}: {each['folder']}{size}{free}, {state}"
