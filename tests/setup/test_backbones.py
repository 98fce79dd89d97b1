"""The suggested backbone, and what the files of one say."""

from pathlib import Path

import pytest

from adapter_tune.setup.backbones import open_backbone, suggested_backbone
from tests.helpers import SHAPE, save_family


@pytest.mark.parametrize(
    ("texts", "device", "name"),
    [
        (["a good film"], "cpu", "sentence-transformers/all-MiniLM-L6-v2"),
        (["ein größerer Spaß"], "cpu", "sentence-transformers/all-MiniLM-L6-v2"),
        ([], "cuda", "google-bert/bert-base-uncased"),
        (["хороший фильм"], "cuda", "FacebookAI/xlm-roberta-base"),
        (["一部好电影"], "cpu", "FacebookAI/xlm-roberta-base"),
        (["12 + 3"], "cuda", "google-bert/bert-base-uncased"),
    ],
)
def test_the_suggestion(texts: list[str], device: str, name: str) -> None:
    guess = suggested_backbone(texts, device)
    assert guess.value == name
    assert guess.is_open
    assert guess.reason


@pytest.mark.parametrize(("family", "positions"), [("distilbert", 512), ("roberta", 62), ("modernbert", 64)])
def test_what_its_files_say(family: str, positions: int, tmp_path: Path) -> None:
    backbone = open_backbone(save_family(tmp_path, family))
    assert (backbone.shape.d, backbone.shape.layers, backbone.heads) == (32, 2, SHAPE["num_attention_heads"])
    assert backbone.positions == positions
