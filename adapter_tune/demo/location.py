"""The name of the embedded default (a model's id, a data set's name), and where its backbone lies."""

from __future__ import annotations

from pathlib import Path

DEMO = "demo"
BACKBONE = Path(__file__).parent / "backbone"


def located_model(model_id: str) -> str:
    """Where ``from_pretrained`` finds a model: its id, or the embedded backbone's folder."""
    return str(BACKBONE) if model_id == DEMO else model_id
