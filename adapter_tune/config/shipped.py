"""The YAML files that ship with the package, found by name, and the text of any file."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.foundation.errors import UsageError, unknown_name

_PACKAGE = Path(__file__).parent.parent

SCHEMA_COMMENT = "# yaml-language-server: $schema="
"""The comment from which editors take the schema of a YAML file; a path follows, relative to the file."""


def shipped_configs(*, sweeps: bool = False) -> dict[str, Path]:
    """Every configuration, or sweep, that ships with the package: its path under ``configs/`` without ``.yaml``."""
    root = _configs()
    paths = {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.yaml"))}
    return {name: path for name, path in paths.items() if ("/sweeps/" in name) == sweeps}


def _configs() -> Path:
    """The folder of the shipped files: in the installed package, or in a checkout."""
    installed, checkout = _PACKAGE / "configs", _PACKAGE.parent / "configs"
    return installed if installed.is_dir() else checkout


def summary(path: Path) -> str:
    """What a configuration says of itself: its first comment line, after the one with the schema."""
    first = next(line for line in read_text(path).splitlines() if not line.startswith(SCHEMA_COMMENT))
    return first.lstrip("# ")


def schema_file(*, sweeps: bool = False) -> Path:
    """The JSON Schema of a configuration, or of a sweep, which the first line of every shipped file names."""
    return _configs() / "schema" / ("sweep.json" if sweeps else "run.json")


def shipped_file(name: str) -> Path:
    """The shipped configuration or sweep of this name.

    Raises:
        UsageError: there is none.
    """
    files = {**shipped_configs(), **shipped_configs(sweeps=True)}
    if name not in files:
        raise UsageError(unknown_name("shipped configuration", name, files))
    return files[name]


def copy_text(name: str) -> str:
    """The text of a shipped file for a copy anywhere on this machine: the path of its schema is absolute."""
    path = shipped_file(name)
    _, _, rest = read_text(path).partition("\n")
    schema = schema_file(sweeps=name in shipped_configs(sweeps=True))
    return f"{SCHEMA_COMMENT}{schema.resolve().as_posix()}\n{rest}"


def find_config(name: str, *, sweeps: bool = False) -> Path:
    """The file at a path or, where there is none, the shipped configuration (or sweep) of that name."""
    path, shipped = Path(name), shipped_configs(sweeps=sweeps)
    if path.is_file() or (name not in shipped and path.suffix in (".yaml", ".yml")):
        return path
    if name in shipped_configs(sweeps=not sweeps):
        kinds = ("a configuration, not a sweep", "a sweep, not a configuration")
        raise UsageError(f"{name} is {kinds[not sweeps]}; give another name, or a YAML file")
    if name not in shipped:
        raise UsageError(f"no file '{name}', and {unknown_name('shipped configuration', name, shipped)}")
    return shipped[name]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        UsageError: it is not there, or not such a file.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a UTF-8 text file; save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give the path of a YAML file") from None
