"""What tests of the report share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at the names of pictures alone: they are composed, but not drawn, which takes 0.3 s each."""

    def savefig(figure: Any, file: Path, **options: Any) -> None:
        assert figure.axes
        file.write_bytes(b"a picture")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
