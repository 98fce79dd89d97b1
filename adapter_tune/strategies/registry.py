"""The registry of strategies: those of this package, and those that other installed packages provide.

Another package names the module with its strategies in its ``pyproject.toml``::

    [project.entry-points."adapter_tune.strategies"]
    my-package = "my_package.strategies"
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from adapter_tune.foundation.errors import UsageError, first_line

log = logging.getLogger("adapter_tune")

ENTRY_POINTS = "adapter_tune.strategies"
"""The group of entry points that name modules with strategies."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")  # part of the names of run folders, and of lists on the command line

T = TypeVar("T")


class Registry(MutableMapping[str, type[T]]):
    """Classes by name. The first time that it is read, the modules of other packages are imported.

    A package that cannot be loaded is reported in one warning, and none of its classes are in the registry.

    Args:
        check: called with every class of another package; raises an exception if the class cannot be used.
    """

    def __init__(self, check: Callable[[type[T]], None]) -> None:
        self._check = check
        self._classes: dict[str, type[T]] = {}
        self._complete = False

    def register(self, name: str, cls: type[T]) -> None:
        """Add a class; a class that is defined again in the same place, as in a notebook, replaces the earlier one.

        Raises:
            UsageError: the name is taken, or contains other characters than ``a-z``, ``0-9``, ``_`` and ``-``.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"strategy {name!r} of {_place(cls)}: a name has lower-case letters, digits, _ and -, and begins with "
                "a letter; rename it"
            )
        if name in self._classes and _place(self._classes[name]) != _place(cls):
            raise UsageError(
                f"strategy {name!r} of {_place(cls)}: the name is taken by {_place(self._classes[name])}; rename one"
            )
        self._classes[name] = cls

    def __getitem__(self, name: str) -> type[T]:
        """The class of this name."""
        return self._all()[name]

    def __setitem__(self, name: str, cls: type[T]) -> None:
        """Register a class."""
        self.register(name, cls)

    def __delitem__(self, name: str) -> None:
        """Remove a class."""
        del self._classes[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of registration."""
        return iter(self._all())

    def __len__(self) -> int:
        """The number of classes."""
        return len(self._all())

    def _all(self) -> dict[str, type[T]]:
        if not self._complete:
            self._complete = True  # first, because a module that is imported now may read the registry
            for entry in entry_points(group=ENTRY_POINTS):
                self._load(entry)
        return self._classes

    def _load(self, entry: EntryPoint) -> None:
        """Import the module of an entry point, in which classes register themselves; warn if that fails."""
        try:
            entry.load()
            classes = self._classes_of(entry)
            if not classes:
                raise UsageError(f"{entry.value} registers no strategy; decorate its classes with @strategy(...)")
            for cls in classes.values():
                self._check(cls)
        except (Exception, SystemExit) as error:  # whatever it is, other commands must work
            for name in self._classes_of(entry):
                del self._classes[name]
            package = entry.dist.name if entry.dist is not None else entry.module
            log.warning(
                f"the strategies of the package {package} are not available: {_cause(error)} (entry point "
                f"{entry.name} = {entry.value}); update or uninstall {package}"
            )

    def _classes_of(self, entry: EntryPoint) -> dict[str, type[T]]:
        """The registered classes that are defined in the package of an entry point."""
        package = _package(entry.module)
        return {name: cls for name, cls in self._classes.items() if _package(cls.__module__) == package}


def _package(module: str) -> str:
    """The package of a module: the top-level one, or the one below a namespace that several packages share."""
    package, *parts = module.split(".")
    for part in parts:
        parent = sys.modules.get(package)
        if parent is None or getattr(parent, "__file__", None) is not None:
            break
        package = f"{package}.{part}"
    return package


def _place(cls: type[object]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _cause(error: BaseException) -> str:
    """One line for what a package raised."""
    return str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {first_line(error)}"
