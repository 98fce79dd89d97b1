#!/usr/bin/env bash
# The paper's experiments, from sweeps to the report, by calls of the command line alone. Start it again where it stopped.
#     scripts/reproduce_paper.sh [--demo|--bert-base] [FOLDER]
# --demo (the default) needs no network; --bert-base is for a GPU. 'adapter-tune sweep NAME --dry-run' estimates the time.
set -euo pipefail
kind=--demo
if [[ ${1:-} == --* ]]; then kind=$1; shift; fi
folder=${1:-paper-results${kind#-}}
workers=${WORKERS:-2}
tune=${ADAPTER_TUNE:-adapter-tune}
case $kind in
    --demo) suffix=-small; demo=--demo; sweeps="glue-64 glue sizes initialisation extensions" ;;
    --bert-base) suffix=; demo=; sweeps="sizes initialisation extensions" ;;
    *) echo "usage: $0 [--demo|--bert-base] [FOLDER]" >&2; exit 2 ;;
esac

for name in $sweeps; do
    "$tune" sweep "paper/sweeps/$name$suffix" --output "$folder/sweeps" --workers "$workers"
done
for task in mnli cola; do
    "$tune" train --task "$task" --m 64 $demo --output "$folder/ablated/$task"
    "$tune" ablate $demo --runs "$folder/ablated/$task"
done
"$tune" report "$folder" --output "$folder/report"
