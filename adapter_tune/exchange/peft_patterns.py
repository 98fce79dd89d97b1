"""Regular expressions in a configuration of peft, matched in limited time: a short one can compute for years."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import regex

from adapter_tune.exchange.peft_options import PeftSettings
from adapter_tune.foundation.errors import RunError

_ALL_LINEAR = "all-linear"
"""The only value of ``target_modules`` that is a text and no regular expression."""
_SECONDS = 2.0
_PLAIN = regex.compile(r"[\w.]+")


def without_patterns(settings: PeftSettings, modules: Iterable[str], file: Path) -> PeftSettings:
    """The settings with the names of modules in the place of regular expressions, so that peft executes none.

    Args:
        settings: the adapter's configuration.
        modules: the names of the backbone's modules.
        file: the configuration, for messages.

    Raises:
        RunError: an expression is invalid or takes too long, or is in a place for names.
    """
    for option in ("layers_pattern", "modules_to_save"):  # peft reads these as regular expressions, too
        names = getattr(settings, option)
        for name in [names] if isinstance(names, str) else names or ():
            if _PLAIN.fullmatch(name) is None:
                raise RunError(f"{file}: {option} includes {name!r}, which is no name; write out the names of modules")
    modules = list(modules)
    changes = {}
    for option in ("target_modules", "exclude_modules"):
        pattern = getattr(settings, option)
        is_pattern = isinstance(pattern, str) and (option, pattern.lower()) != ("target_modules", _ALL_LINEAR)
        if is_pattern and pattern:
            changes[option] = _matching(pattern, modules, f"{file}: {option}")
    return settings.model_copy(update=changes)


def _matching(pattern: str, names: list[str], where: str) -> list[str]:
    """The names that a regular expression matches as a whole.

    Raises:
        RunError: it is invalid, or matching takes longer than ``_SECONDS``.
    """
    end = time.monotonic() + _SECONDS
    try:
        compiled = regex.compile(pattern)
        return [name for name in names if compiled.fullmatch(name, timeout=max(end - time.monotonic(), 1e-3))]
    except TimeoutError:
        raise RunError(f"{where} is a regular expression that takes too long; write out the names of modules") from None
    except (regex.error, RecursionError, OverflowError) as error:
        raise RunError(f"{where} is no regular expression ({error}); write out the names of modules") from None
