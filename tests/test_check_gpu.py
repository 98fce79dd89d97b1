"""scripts/check_gpu.sh runs on a machine without a GPU in its small form, so that it works on the day it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "check_gpu.sh"
ALL = "env scores tests resume loop families bench"


@pytest.mark.parametrize("parts", ["env loop", pytest.param(ALL, marks=pytest.mark.slow)])
def test_the_small_form_runs(parts: str, tmp_path: Path) -> None:
    small = {"DEVICE": "cpu", "SMALL": "1", "PARTS": parts, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    if parts != ALL:
        small["CASES"] = "houlsby"
    environment = {**os.environ, **small}
    done = subprocess.run(
        ["bash", str(SCRIPT), str(tmp_path)], capture_output=True, text=True, env=environment, check=True, timeout=600
    )
    summary = (tmp_path / "summary.txt").read_text()
    logs = (tmp_path / "logs.txt").read_text()
    assert f"parts: {parts}" in summary
    assert "houlsby" in summary
    assert "an MNLI epoch" in summary
    for sign in ("Traceback", "FAILED", "NOT equal", "DIFFERS", "a run is missing", "no time left"):
        assert sign not in summary + logs, done.stdout
    for part in parts.split():
        assert f"== {part}: exit 0" in logs or part in ("scores", "resume")
