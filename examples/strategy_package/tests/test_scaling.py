"""The strategy keeps every promise that adapter-tune relies on."""

import pytest

from adapter_tune.testing import check_strategy


@pytest.mark.parametrize("sub_layer", ["both", "attention", "feed_forward"])
def test_it_keeps_every_promise(sub_layer: str) -> None:
    check_strategy({"name": "scaling", "sub_layer": sub_layer}, start_tolerance=0.0)
