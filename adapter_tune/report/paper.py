"""The numbers of Houlsby et al. 2019, Table 1 (BERT-large, GLUE's test server), to compare ours with."""

from __future__ import annotations

NOTE = "paper: BERT-large, scored by GLUE's test server; the server's total score is not a mean, so it is left out"

COLUMNS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "mnli_mm", "qnli", "rte")

TABLE_1: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "full fine-tuning": ("9.0x", "100 %", (60.5, 94.9, 89.3, 87.6, 72.1, 86.7, 85.9, 91.1, 70.1)),
    "adapters 8-256": ("1.3x", "3.6 %", (59.5, 94.0, 89.5, 86.9, 71.8, 84.9, 85.1, 90.7, 71.5)),
    "adapters 64": ("1.2x", "2.1 %", (56.9, 94.2, 89.6, 87.3, 71.8, 85.3, 84.6, 91.4, 68.8)),
}
"""By method: total parameters for nine tasks, trained parameters for one task, scores in the order of ``COLUMNS``."""
