from pathlib import Path

import pytest

from adapter_tune.foundation import atomic_files


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_a_text_file_is_replaced_completely(tmp_path: Path) -> None:
    atomic_files.write_text(tmp_path / "a", "one")
    atomic_files.write_text(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "two"
    with pytest.raises(UnicodeEncodeError):
        atomic_files.write_text(tmp_path / "a", "three \ud800")
    assert (tmp_path / "a").read_text() == "two"
    assert names(tmp_path) == {"a"}


def test_a_folder_is_replaced_completely(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with atomic_files.new_folder(tmp_path / "f") as folder:
            (folder / text).write_text(text)
    assert names(tmp_path) == {"f", "two"}
    with pytest.raises(ZeroDivisionError), atomic_files.new_folder(tmp_path / "f") as folder:
        (folder / "three").write_text("three")
        1 / 0  # noqa: B018
    assert names(tmp_path) == {"f", "two"}


def test_a_folder_survives_a_death_between_the_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_files.new_folder(tmp_path / "f") as folder:
        (folder / "one").write_text("one")
    (tmp_path / "f").rename(tmp_path / ".f.old")  # what a killed process leaves
    with pytest.raises(ZeroDivisionError), atomic_files.new_folder(tmp_path / "f"):
        1 / 0  # noqa: B018
    assert names(tmp_path) == {"f", "one"}
    monkeypatch.setattr(atomic_files, "_move", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), atomic_files.new_folder(tmp_path / "f"):
        pass
    assert names(tmp_path) == {"f", "one"}
