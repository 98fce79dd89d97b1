#!/usr/bin/env bash
# The paper's experiments, from sweeps to the report, with the command line only. Run it again to resume.
#     scripts/reproduce_paper.sh [--demo|--minilm|--mpnet|--bert-base|--bert-large] [FOLDER]
# --demo (the default) needs no network; --minilm and --mpnet take several hours on two cores; the others need GPUs (WORKERS=N
# processes on this machine, more machines with scripts/slurm_sweep.sh). 'adapter-tune sweep NAME --dry-run' estimates the time.
set -euo pipefail
kind=--demo
if [[ ${1:-} == --* ]]; then kind=$1; shift; fi
folder=${1:-paper-results${kind#-}}
tune=${ADAPTER_TUNE:-adapter-tune}
demo=
case $kind in # the sweeps, and whose runs are ablated: those of plain adapters of size 64
    --demo) demo=--demo; ablated=table-1-demo
        sweeps="table-1-demo sizes-small top-n-small layer-norm-small initialisation-small extensions-small" ;;
    --minilm) sweeps="minilm-rates minilm-mnli minilm-extensions minilm-initialisation minilm-sizes"
        ablated="minilm-mnli minilm-sizes" ;;
    --mpnet) sweeps="mpnet-rates mpnet-base mpnet-rte mpnet-sizes mpnet-mnli mpnet-initialisation"
        ablated="mpnet-base mpnet-rte mpnet-mnli" ;;
    --bert-base) sweeps="sizes top-n layer-norm initialisation extensions"; ablated=sizes ;;
    --bert-large) sweeps="glue-64 glue"; ablated=glue-64 ;;
    *) echo "usage: $0 [--demo|--minilm|--mpnet|--bert-base|--bert-large] [FOLDER]" >&2; exit 2 ;;
esac

for name in $sweeps; do
    "$tune" sweep "paper/sweeps/$name" --output "$folder/sweeps" --workers "${WORKERS:-2}"
done
for name in $ablated; do
    seen=
    for run in "$folder/sweeps/$name/runs"/*-houlsby-m64-*; do
        task=$(basename "$run" | cut -d- -f1)
        if [[ " $seen " != *" $task "* && ! -e $run/ablation ]]; then "$tune" ablate "$run" $demo; fi
        seen+=" $task"
    done
done
"$tune" report "$folder" --output "$folder/report"
