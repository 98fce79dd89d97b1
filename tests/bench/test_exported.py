"""The arithmetic of exported models beside torch; tests/exchange/test_onnx.py times real ones."""

import numpy as np
import pytest

from adapter_tune.bench.exported import TORCH, _measurements
from adapter_tune.exchange.onnx_compare import random_rows
from adapter_tune.report.command_output import show_bench_exported
from adapter_tune.strategies import Houlsby


def test_every_unit_is_that_of_the_same_speed(capsys: pytest.CaptureFixture[str]) -> None:
    speeds = {TORCH: 50.0, "ONNX int8": 100.0}
    sizes = {TORCH: 400, "ONNX int8": 100}
    in_torch, int8 = _measurements(speeds, sizes, np.array([10, 20, 30, 40, 50]), batch_size=2)
    assert (in_torch.speed, int8.speed) == (1, 2)
    assert (in_torch.row_ms, int8.row_ms) == (20, 10)
    assert in_torch.batch_ms == pytest.approx(5 * 20 / 3)  # 5 rows are 3 batches of at most 2
    assert in_torch.tokens_per_second == 50 * 30
    about = {"model": "bert", "strategy": Houlsby().to_dict(), "lengths": "rte", "batch_size": 2, "device": "cpu"}
    show_bench_exported([vars(in_torch), vars(int8)], {**about, "threads": 1, "turns": 3, "rows": 5})
    output = capsys.readouterr().out
    assert "bert, houlsby m=64, rte tokens, batch 2, cpu (1 threads); 3 turns of 5 rows" in output
    assert "ONNX int8" in output
    assert "2.00" in output


def test_random_rows_have_the_inputs_and_lengths_that_are_given() -> None:
    rows = random_rows(["input_ids", "token_type_ids", "attention_mask"], np.array([3, 5]), 40)
    assert [len(values) for row in rows for values in row.values()] == [3, 3, 3, 5, 5, 5]
    assert list(rows[0]) == ["input_ids", "token_type_ids", "attention_mask"]
    assert rows[1]["attention_mask"] == [1] * 5
    assert rows[1]["token_type_ids"] == [0] * 5
    assert max(rows[0]["input_ids"] + rows[1]["input_ids"]) < 40
