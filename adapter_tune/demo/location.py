"""The name of the embedded default (a model id and a data set name), and the folder of its backbone."""

from __future__ import annotations

from pathlib import Path

DEMO = "demo"
BACKBONE = Path(__file__).parent / "backbone"


def located_model(model_id: str) -> str:
    """Return what ``from_pretrained`` needs for a model: its id, or the folder of the embedded demo backbone."""
    return str(BACKBONE) if model_id == DEMO else model_id
