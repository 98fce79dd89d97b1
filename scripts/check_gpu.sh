#!/usr/bin/env bash
# All checks that need a GPU, in at most nine minutes on one GPU with 16 cores, without a network:
#   scripts/check_gpu.sh [FOLDER]        FOLDER (default $OUT, else ./gpu-check) gets summary.txt and logs.txt
#   PARTS="env resume loop" scripts/check_gpu.sh      only these parts, of: env scores tests resume loop families bench
# scores, tests, resume and families run at the same time (they check results); env, loop and bench use the GPU
# alone (they measure time). CASES (with ; between them), TESTS and SCORES select cases,
# files and precisions; "houlsby, compiled" takes minutes and runs only if CASES names it. PYTHON is the interpreter; LIMIT is the total time in seconds.
# DEVICE=cpu SMALL=1 tests the script itself on a machine without a GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d adapter_tune ] || cd "${REPO:?name the clone in REPO}"
repo=$PWD
out=${1:-${OUT:-gpu-check}}
mkdir -p "$out" && out=$(cd "$out" && pwd)
python=${PYTHON:-python3} device=${DEVICE:-cuda} small=${SMALL:-} limit=${LIMIT:-530}
parts=${PARTS:-env scores tests resume loop families bench}
work=$(mktemp -d) && logs=$work/logs && mkdir "$logs"
finish() { (cd "$logs" && for log in *; do echo "######## $log"; cat "$log"; done) > "$out/logs.txt" 2> /dev/null; rm -rf "$work"; }
trap finish EXIT
export PYTHONPATH="$repo${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TOKENIZERS_PARALLELISM=false
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME="$work/home" DEVICE=$device SMALL=$small WORK=$work OUT=$out
summary=$out/summary.txt && : > "$summary"

wanted() { [[ " $parts " == *" $1 "* ]]; }
left() { echo $((limit - SECONDS)); }
say() { echo "$*" | tee -a "$summary"; }
note() { tee -a "$summary"; }
# run SECONDS NAME COMMAND...: at most so long, and never past the limit; what it prints goes to NAME.log as well
run() {
    local most=$1 name=$2 start=$SECONDS rc; shift 2
    [ "$(left)" -lt "$most" ] && most=$(left)
    [ "$most" -lt 15 ] && { say "== $name: no time left"; return; }
    timeout -k 5 "$most" "$@" > "$logs/$name.log" 2>&1; rc=$?
    echo "== $name: exit $rc after $((SECONDS - start)) s" >> "$logs/$name.log"
    return $rc
}


check=("$python" "$repo/scripts/check_gpu.py")
say "check_gpu: $(date -u +%FT%TZ), $repo, device $device, parts: $parts"
if wanted env; then
    run 60 env "${check[@]}" env
    note < "$logs/env.log"
fi

# ---- how long a step takes: alone on the device
if wanted loop; then
    run 150 loop "${check[@]}" loop
    say "" && say "== training on random rows of MNLI's lengths, 32 a step, m = 64" && note < "$logs/loop.log"
fi

# ---- what is right: side by side, once the demo data are in the cache
{ wanted scores || wanted resume; } && "${check[@]}" prepare
jobs=()
background() { run "$@" & jobs+=($!); }
CPU=(env CUDA_VISIBLE_DEVICES= DEVICE=cpu)
if wanted scores; then
    [ -n "${SCORES:-}" ] || background 170 scores-cpu "${CPU[@]}" "${check[@]}" scores float32
    [ "$device" = cuda ] && for p in ${SCORES:-float32 bf16 fp16}; do background 170 "scores-$p" "${check[@]}" scores "$p"; done
fi
if wanted tests; then
    files=(${TESTS:-tests/training/test_cuda_graphs.py tests/data/test_flat_rows.py tests/modeling/test_fast_paths.py tests/modeling/test_precision.py tests/modeling/test_frozen_layer_cache.py
        tests/runs/test_run.py tests/run_files/test_adapter_files.py tests/runs/test_predict.py tests/runs/test_ablate.py tests/training/test_signals.py})
    [ -n "$small" ] && files=(tests/modeling/test_precision.py)
    words=(-m pytest -p no:cacheprovider --tb=short -rfE)
    "$python" -c 'import xdist' 2> /dev/null && many=1 || many=
    background 170 tests "$python" "${words[@]}" ${many:+-n 6} "${files[@]}"
fi
if wanted resume; then
    one() { timeout -k 5 150 "${check[@]}" one_run "$@"; }
    stopped() { one "$1-stopped" "$2" "$4" "$3"; one "$1-stopped" "$2" 0 "$3"; }
    both() { one "$1-whole" "$2" 0 "$3" & stopped "$@"; wait; }
    at=$([ -n "$small" ] && echo 1 || echo 80)
    resume() { both det 1 0 "$at" & both det-kept 1 1 "$at" & both free 0 0 "$at" & wait; }
    (resume > "$logs/resume.log" 2>&1) & jobs+=($!)
fi
wanted families && background 100 families "${check[@]}" families
[ ${#jobs[@]} -gt 0 ] && wait "${jobs[@]}"  # each has its own limit
if wanted scores; then
    say "" && say "== scores of the demo tasks (houlsby), by device and precision" && "${check[@]}" compare | note
    grep -hE "Error|error:" "$logs"/scores-*.log | sort | uniq -c | head -5 | note
fi
if wanted tests; then
    say "" && say "== tests with $device as the device that auto takes" && grep -E "^(FAILED|ERROR)|passed|failed" "$logs/tests.log" | tail -40 | note
fi
if wanted resume; then
    say "" && say "== a run stopped by SIGTERM and resumed, against one undisturbed" && "${check[@]}" resumed | note
    grep -E "Error" "$logs/resume.log" | sort | uniq -c | head -5 | note
fi
if wanted families; then
    say "" && say "== families" && note < "$logs/families.log"
fi

# ---- the table: alone again
if wanted bench; then
    words=(--model google-bert/bert-base-uncased --lengths mnli --batch-size 32 --m 64 --steps 60 --strategy full --strategy houlsby)
    [ -n "$small" ] && words=(--model google/bert_uncased_L-2_H-128_A-2 --lengths 16 --batch-size 4 --m 8 --steps 3 --strategy full --strategy houlsby)
    run 100 bench "$python" -m adapter_tune bench "${words[@]}" --set "training.device=$device"
    say "" && say "== bench" && note < "$logs/bench.log"
fi
say "" && say "check_gpu: $SECONDS s in all; $summary"
