"""The installed packages: their versions, and those that are missing or too old."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from adapter_tune import __version__

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PACKAGE = "adapter-tune"
_DEVELOPMENT = "dev"


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and every dependency; optional ones only if they are installed."""
    by_name = {_PACKAGE: __version__, "python": platform.python_version()}
    for requirement, extra in _requirements():
        version = _installed(requirement.name)
        if version is not None or extra == "":
            by_name[requirement.name] = version or "missing"
    return by_name


def problems() -> list[str]:
    """Return one line for each dependency that is missing or has a wrong version."""
    if _installed(_PACKAGE) is None:
        return ["adapter-tune is not installed, so its dependencies cannot be checked; run: pip install -e ."]
    lines = {}
    for requirement, extra in _requirements():
        version = _installed(requirement.name)
        wanted = f"{requirement.name}{requirement.specifier}"
        if version is None and extra == "":
            lines[requirement.name] = f"{requirement.name} is missing; run: pip install '{wanted}'"
        elif version is not None and not requirement.specifier.contains(version, prereleases=True):
            lines[requirement.name] = f"{requirement.name} {version} does not fit; run: pip install '{wanted}'"
    return list(lines.values())


def _requirements() -> Iterator[tuple[Requirement, str]]:
    """The dependencies that apply to this Python and platform, each with the extra that it belongs to, or ""."""
    from packaging.requirements import Requirement  # here, because it may be missing too

    try:
        distribution = metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        return
    extras = [name for name in distribution.metadata.get_all("Provides-Extra") or [] if name != _DEVELOPMENT]
    for text in distribution.requires or ():
        requirement = Requirement(text)
        for extra in ["", *extras]:
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                yield requirement, extra
                break


def _installed(name: str) -> str | None:
    """The installed version of a package; None if it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
