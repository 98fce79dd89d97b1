#!/usr/bin/env bash
# The table of docs/performance.md on a GPU, and the seconds of an MNLI epoch (392,702 rows). Random weights and rows of
# MNLI's lengths, so nothing is downloaded. Usage: scripts/bench_gpu.sh [OUTPUT.json]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-bench-gpu.json}
python=${PYTHON:-python}
common=(--model google-bert/bert-base-uncased --lengths mnli --batch-size 32 --m 64 --json)

"$python" -m adapter_tune bench "${common[@]}" --steps 200 --kept \
    --strategy full --strategy houlsby --strategy "houlsby layers=top-6" --strategy "top_n n=1" --strategy head > "$out"
"$python" -m adapter_tune bench "${common[@]}" --steps 50 --strategy houlsby \
    --set training.fast=false --set training.precision=float32 --set data.padding=max_length > "${out%.json}-plain.json"

"$python" - "$out" "${out%.json}-plain.json" <<'PYTHON'
import json
import sys

ours, plain = (json.load(open(path)) for path in sys.argv[1:])
print(f"{ours['device']}, {ours['precision']}, torch {ours['torch']}")
for row in ours["strategies"]:
    epoch = 392_702 / row["examples_per_second"]
    print(f"{row['name']:40} {row['step_ms']:8.2f} ms a step  {row['step_ratio']:.3f} of full  {epoch:7.0f} s an MNLI epoch")
houlsby = next(row for row in ours["strategies"] if row["name"] == "houlsby")
(slow,) = plain["strategies"]
print(f"plain Trainer settings (float32, padded to 128): {slow['step_ms']:.2f} ms a step, "
      f"{houlsby['examples_per_second'] / slow['examples_per_second']:.1f} times as slow")
PYTHON
