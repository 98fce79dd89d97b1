#!/usr/bin/env bash
# Everything that only a GPU can show, in at most nine minutes on one GPU with 16 cores and without a network:
#   scripts/check_gpu.sh [FOLDER]        FOLDER (default $OUT, else ./gpu-check) gets summary.txt and logs.txt
#   PARTS="env resume loop" scripts/check_gpu.sh      some parts alone: env scores tests resume loop families bench
# scores, tests, resume and families run side by side (they ask what is right); env, loop and bench have the GPU to
# themselves (they ask how long it takes). CASES, TESTS and SCORES choose among cases, files and precisions. PYTHON names the interpreter; LIMIT is the time for all of it in seconds.
# DEVICE=cpu SMALL=1 tries the script itself on a machine without a GPU.
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

cat > "$work/check.py" <<'PYTHON'
"""Parts of scripts/check_gpu.sh, each a function named on the command line."""

import contextlib
import gc
import hashlib
import json
import os
import signal
import statistics
import sys
import time
import traceback
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
DEVICE, SMALL, WORK, OUT = os.environ["DEVICE"], bool(os.environ.get("SMALL")), Path(os.environ["WORK"]), Path(os.environ["OUT"])
EPOCH = -(-392_702 // 32)  # steps of an MNLI epoch


class Done(Exception):
    """The steps that were to be timed are over."""


def train(trainer):
    with contextlib.suppress(Done):
        trainer.train()


def sync():
    import torch

    if DEVICE == "cuda":
        torch.cuda.synchronize()


def clocked(what, times=20):
    """Median milliseconds of a call, device work included."""
    taken = []
    for _ in range(times):
        sync()
        start = time.perf_counter()
        what()
        sync()
        taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


# ---- env ----------------------------------------------------------------------------------------------------------


def env():
    """Versions, the two ceilings, and what one launch, one copy and one synchronisation cost the host."""
    import importlib.metadata as meta

    import torch

    names = "torch transformers accelerate datasets evaluate huggingface_hub tokenizers peft numpy pyarrow pydantic typing_extensions"
    for name in names.split():
        try:
            print(f"{name} {meta.version(name)}", end="  ")
        except Exception:
            print(f"{name} MISSING", end="  ")
    print()
    if DEVICE != "cuda":
        return
    p = torch.cuda.get_device_properties(0)
    print(f"{p.name}, capability {p.major}.{p.minor}, {p.total_memory / 2**30:.0f} GiB, {p.multi_processor_count} SMs, "
          f"CUDA {torch.version.cuda}, built for {' '.join(torch.cuda.get_arch_list())}, cores {os.cpu_count()}")
    print("bf16 native", torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        print("attention backends in their order", torch._C._get_sdp_priority_order())
    except Exception as error:
        print("attention order unknown:", error)
    from adapter_tune.modeling.precision import matmul_rate

    print(f"matmul_rate as bench uses it (size 1024): {matmul_rate('cuda', torch.bfloat16) / 1e12:.0f} TFLOP/s")
    n = 8192
    a, b = torch.randn(n, n, device="cuda", dtype=torch.bfloat16), torch.randn(n, n, device="cuda", dtype=torch.bfloat16)
    print(f"the same at 8192, random numbers: {2 * n**3 / clocked(lambda: a @ b) / 1e9:.0f} TFLOP/s")
    big = torch.empty(2**28, device="cuda", dtype=torch.float32)
    print(f"copy on the device: {2 * big.nbytes / clocked(lambda: big.clone()) / 1e9:.2f} TB/s")
    del a, b, big
    small = torch.zeros(64, device="cuda")

    def thousand():
        for _ in range(1000):
            small.add_(1)

    print(f"one launch from Python: {clocked(thousand):.2f} us")
    mask = torch.ones(32, 40, device="cuda", dtype=torch.long)
    print(f"bool(mask.all()): {1e3 * clocked(lambda: bool(mask.all())):.1f} us")
    host = torch.ones(32, 40, dtype=torch.long).pin_memory()
    print(f"copy of (32, 40) to the device: {1e3 * clocked(lambda: host.to('cuda')):.1f} us")
    ids = torch.randint(0, 2, (8, 12, 40, 64), device="cuda").to(torch.bfloat16)
    keep = torch.ones(8, 1, 40, 40, dtype=torch.bool, device="cuda")
    from torch.nn.functional import scaled_dot_product_attention as attend

    for what, given in (("with a boolean mask", keep), ("without", None)):
        q = ids.clone().requires_grad_()
        with torch.profiler.profile() as prof:
            attend(q, q, q, attn_mask=given, dropout_p=0.1).sum().backward()
        names = sorted({e.key for e in prof.key_averages() if "attention" in e.key and "::_" in e.key})
        print(f"attention {what}:", ", ".join(names))


# ---- scores -------------------------------------------------------------------------------------------------------


def demo_config(task, precision, output, **training):
    from adapter_tune.config.compose import compose

    sets = [f"training.{key}={value}" for key, value in {"precision": precision, "device": DEVICE, **training}.items()]
    flags = {"--task task": task, "--strategy strategy.name": "houlsby", "--output output": str(output)}
    rows = ["data.max_train_samples=64", "data.max_eval_samples=32", "training.epochs=2"] if SMALL else []
    return compose(None, flags, [*sets, *rows], demo=True)


def prepare():
    """The embedded data into the cache."""
    from adapter_tune.demo.location import DEMO
    from adapter_tune.demo.dataset import located_data

    located_data(DEMO)


def scores(precision):
    """The embedded tasks on one device in one precision."""
    import torch

    from adapter_tune import run
    from adapter_tune.foundation.console import library_noise

    library_noise(quiet=True)
    torch.set_num_threads(2)
    found = {}
    for task in ("rte",) if SMALL else ("rte", "stsb", "sst2"):
        start = time.perf_counter()
        result = run(demo_config(task, precision, WORK / f"scores-{DEVICE}-{precision}"), force=True)
        found[task] = [result.headline.value, time.perf_counter() - start, result.speed.train_examples_per_second, result.speed.precision]
        print(task, found[task], result.warnings, flush=True)
    (WORK / f"scores-{DEVICE}-{precision}.json").write_text(json.dumps(found))


def compare():
    """The table of all scores; a difference of two points is worth a look."""
    found = {f.stem.removeprefix("scores-"): json.loads(f.read_text()) for f in sorted(WORK.glob("scores-*.json"))}
    reference = found.get("cpu-float32", {})
    for name, tasks in found.items():
        row = [f"{t} {v[0]:.4f}{'' if t not in reference or abs(v[0] - reference[t][0]) <= 0.02 else ' DIFFERS'} ({v[2]:.0f} rows/s)" for t, v in tasks.items()]
        print(f"{name:14}", "  ".join(row))


# ---- resume -------------------------------------------------------------------------------------------------------


def one_run(name, deterministic, stop, kept):
    """A run that is told to stop at a step, or to its end; the digest of what was learnt."""
    import torch
    from safetensors.torch import load_file
    from transformers import TrainerCallback

    from adapter_tune import run
    from adapter_tune.foundation.console import library_noise

    library_noise(quiet=True)
    torch.set_num_threads(2)

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == int(stop):
                os.kill(os.getpid(), signal.SIGTERM)

    more = {"epochs": 2, "logging_steps": 1, "deterministic": deterministic == "1"}
    if kept == "1":
        more |= {"backbone_dropout": "off", "cache_frozen_prefix": "on"}
    config = demo_config("rte", "auto" if DEVICE == "cuda" else "float32", WORK / f"resume-{name}", **more)
    if kept == "1":
        config = config.model_copy(update={"strategy": type(config.strategy)(**{**config.strategy.model_dump(), "layers": "top-1"})})
    try:
        result = run(config, callbacks=[Stop()] if stop != "0" else [])
    except SystemExit as end:
        print(name, "stopped with", end.code)
        return
    tensors = load_file(Path(result.storage.folder) / "adapter" / "adapter_model.safetensors")
    digest = hashlib.sha256(b"".join(tensors[k].numpy().tobytes() for k in sorted(tensors))).hexdigest()
    losses = [entry["loss"] for entry in result.history if "loss" in entry]
    (WORK / f"resume-{name}.json").write_text(json.dumps({"digest": digest, "losses": losses, "score": result.headline.value}))
    print(name, digest[:16], result.headline.value, len(losses), "losses, first and last", losses[:1], losses[-1:])


def resumed():
    """Whether the stopped runs learnt what the undisturbed ones did."""
    for kind in ("det", "det-kept", "free"):
        files = [WORK / f"resume-{kind}-{which}.json" for which in ("whole", "stopped")]
        if not all(file.is_file() for file in files):
            print(f"{kind}: a run is missing: {[f.name for f in files if not f.is_file()]}")
            continue
        whole, stopped = (json.loads(file.read_text()) for file in files)
        apart = max((abs(a - b) for a, b in zip(whole["losses"], stopped["losses"])), default=float("nan"))
        same = whole["digest"] == stopped["digest"] and whole["losses"] == stopped["losses"]
        print(f"resume {kind}: {'EQUAL to the bit' if same else 'NOT equal'}; losses at most {apart:.3g} apart, scores {whole['score']:.4f} {stopped['score']:.4f}")


# ---- loop ---------------------------------------------------------------------------------------------------------


def trainer_of(kind, steps, strategy="houlsby", tune=None, first=None, **more):
    """A trainer over random rows of MNLI's lengths, as the bench has it, of a given class."""
    import torch
    from transformers import AutoTokenizer, TrainerCallback

    from adapter_tune.bench import worker as bench
    from adapter_tune.config.schema import parse_config
    from adapter_tune.data.splits import Splits
    from adapter_tune.demo.location import DEMO, located_model
    from adapter_tune.foundation.console import library_noise
    from adapter_tune.training.speed_monitor import SpeedMonitor

    library_noise(quiet=True)
    own = {"name": strategy, "m": 64} if strategy == "houlsby" else {"name": strategy}
    model = "google-bert/bert-base-uncased" if not SMALL else "google/bert_uncased_L-2_H-128_A-2"
    training = {"max_steps": steps, "device": DEVICE, "logging_steps": 20, "eval_batch_size": 32, **more}
    if DEVICE == "cpu":
        training["precision"] = "float32"
    folder = WORK / f"loop-{time.monotonic_ns()}"
    config = parse_config({"task": "mnli", "model": model, "strategy": own, "training": training, "output": str(folder)})
    built = bench._random(config)
    if tune is not None:
        tune(built)
    words = built.model.config.vocab_size
    rows = bench._rows(config, words, "mnli", steps * 32, seed=1)
    held = bench._rows(config, words, "mnli", 64, seed=2)
    clock = SpeedMonitor()

    class Window(TrainerCallback):
        """Milliseconds a step from a first step to the last, device work included."""

        start = ms = None

        def on_step_begin(self, args, state, control, **_):
            if state.global_step == (first or steps // 4):
                sync()
                self.start, self.at = time.perf_counter(), state.global_step

        def on_step_end(self, args, state, control, **_):
            if state.global_step == steps:
                self.host = 1e3 * (time.perf_counter() - self.start) / (steps - self.at)
                sync()
                self.ms = 1e3 * (time.perf_counter() - self.start) / (steps - self.at)
                raise Done  # no evaluation, no checkpoint

    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    window = Window()
    tokenizer = AutoTokenizer.from_pretrained(located_model(DEMO))
    trainer = kind(config, built, tokenizer, folder, Splits(rows, {config.task_spec.validation[0]: held}), [clock, window], clock)
    trainer.window = window
    trainer.seen = []
    return trainer


def watched():
    """The trainer, with the losses of its steps kept."""
    from adapter_tune.training.trainer import AdapterTrainer

    class Watched(AdapterTrainer):
        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            self.seen.append(loss.clone())
            return loss

    return Watched


def report(name, trainer):
    import torch

    ms, host = trainer.window.ms, trainer.window.host
    memory = f", peak {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if DEVICE == "cuda" else ""
    graphs = trainer.step_graphs
    more = "" if graphs is None else f", {len(graphs.graphs)} graphs" if graphs.graphs.is_on else ", graphs given up"
    print(f"{name:42} {ms:7.2f} ms a step (the host is busy for {host:.2f}), an MNLI epoch {EPOCH * ms / 1e3:6.0f} s{memory}{more}", flush=True)
    return torch.stack([loss.float().cpu() for loss in trainer.seen[:60]])


CASES = {
    "full": {"strategy": "full"},
    "houlsby": {},
    "houlsby, no graphs": {"graphs": False},
    "houlsby, training.fast=false": {"fast": False},
    "houlsby, float32": {"precision": "float32"},
    "top_n n=1": {"strategy": "top_n"},
    "head": {"strategy": "head"},
}


def case(name, steps):
    more = dict(CASES[name])
    graphs = more.pop("graphs", True)
    trainer = trainer_of(watched(), steps, **more)
    if not graphs and trainer.step_graphs is not None:
        trainer.step_graphs.graphs.is_on = False
    return trainer


def loop():
    """Ordinary training, and the kernels of a step."""
    steps, seen = (8 if SMALL else 240), {}
    for name in os.environ["CASES"].split(",") if os.environ.get("CASES") else CASES:
        try:
            trainer = case(name, steps)
            train(trainer)
            seen[name] = report(name, trainer)
            del trainer
        except Exception:
            print(name, "FAILED")
            traceback.print_exc(file=sys.stdout)
    if {"houlsby", "houlsby, no graphs"} <= seen.keys():
        apart = (seen["houlsby"] - seen["houlsby, no graphs"]).abs().max()
        print(f"losses of the first {len(seen['houlsby'])} steps, with graphs and without: at most {apart:.3g} apart")
    if DEVICE == "cuda":
        for what in (profile, host):
            try:
                what("houlsby")
            except Exception:
                traceback.print_exc(file=sys.stdout)


def host(name, steps=100):
    """What the host does in so many steps, when nothing waits for the device."""
    import cProfile
    import pstats

    from transformers import TrainerCallback

    class Profile(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 160:
                sync()
                self.prof = cProfile.Profile()
                self.prof.enable()

        def on_step_end(self, args, state, control, **_):
            if state.global_step == 160 + steps:
                self.prof.disable()

    trainer, watch = case(name, 161 + steps), Profile()
    trainer.add_callback(watch)
    train(trainer)
    print(f"\nthe host in {steps} steps, seconds:")
    stats = pstats.Stats(watch.prof, stream=sys.stdout)
    stats.strip_dirs().sort_stats("cumtime").print_stats(45)


def families():
    """A tiny model of every family trains; which of them are recorded as graphs."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from adapter_tune.bench import worker as bench
    from adapter_tune.config.schema import parse_config
    from adapter_tune.data.splits import Splits
    from adapter_tune.demo.location import DEMO, located_model
    from adapter_tune.adapters.families import FAMILIES
    from adapter_tune.modeling.build import PreparedModel, prepare
    from adapter_tune.foundation.console import library_noise
    from adapter_tune.training.speed_monitor import SpeedMonitor

    library_noise(quiet=True)
    tokenizer = AutoTokenizer.from_pretrained(located_model(DEMO))
    own = {"deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}, "electra": {"embedding_size": 64},
           "distilbert": {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 2}, "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8}}
    for kind in FAMILIES:
        shape = {"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
        given = own.get(kind, {}) if kind == "distilbert" else {**shape, **own.get(kind, {})}
        losses = {}
        for on in (True, False):
            try:
                config = parse_config({"task": "mnli", "strategy": {"name": "houlsby", "m": 8}, "output": str(WORK / "families"),
                                       "training": {"max_steps": 12, "device": DEVICE, "logging_steps": 100}})
                torch.manual_seed(1)
                model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(
                    kind, num_labels=3, pad_token_id=0, max_position_embeddings=160, problem_type="single_label_classification", **given))
                prepare(model, config.strategy, train_pooler=config.strategy.trains_pooler)
                rows = bench._rows(config, 1000, "24", 12 * 32, seed=1)
                trainer = watched()(config, PreparedModel(model, config.model, "random", frozenset()), tokenizer, WORK / "families",
                                    Splits(rows, {config.task_spec.validation[0]: rows.select(range(32)).flatten_indices()}), [], SpeedMonitor())
                trainer.seen = []
                if trainer.step_graphs is not None:
                    trainer.step_graphs.graphs.is_on = on
                trainer.evaluate = lambda *_, **__: {f"eval_{config.task_spec.validation[0]}_accuracy": 0.0}
                trainer._save_checkpoint = trainer._load_best_model = lambda *_, **__: None
                trainer.train()
                losses[on] = torch.stack([loss.float().cpu() for loss in trainer.seen])
                how = "no graphs" if trainer.step_graphs is None else f"{len(trainer.step_graphs.graphs)} graphs" if trainer.step_graphs.graphs.is_on else "graphs off"
            except Exception as error:
                print(f"{kind:12} FAILED: {type(error).__name__}: {str(error).splitlines()[0]}")
                traceback.print_exc()
                break
            if on:
                first = how
        else:
            print(f"{kind:12} {first}, losses with and without at most {(losses[True] - losses[False]).abs().max():.3g} apart", flush=True)


def profile(name, steps=50):
    """Kernels of so many steps: how many, which, and how long the GPU has none."""
    import torch
    from transformers import TrainerCallback

    class Profile(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 160:
                sync()
                self.prof = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
                self.prof.__enter__()

        def on_step_end(self, args, state, control, **_):
            if state.global_step == 160 + steps:
                sync()
                self.prof.__exit__(None, None, None)

    trainer, watch = case(name, 161 + steps), Profile()
    trainer.add_callback(watch)
    train(trainer)
    trace = WORK / "trace.json"
    watch.prof.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    work = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset"))
    kernels = [e for e in events if e.get("cat") == "kernel"]
    busy, end = 0.0, work[0][0]
    for start, stop in work:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    whole = end - work[0][0]
    calls = {}
    for e in events:
        if e.get("cat") in ("cuda_runtime", "cuda_driver"):
            calls[e["name"]] = calls.get(e["name"], 0) + 1
    print(f"\n{name}: {len(kernels) / steps:.0f} kernels a step, GPU busy {busy / steps / 1e3:.2f} ms of {whole / steps / 1e3:.2f} ms a step "
          f"(idle {1 - busy / whole:.0%}, profiled); calls a step:",
          ", ".join(f"{k} {v / steps:.1f}" for k, v in sorted(calls.items(), key=lambda i: -i[1])[:8]))
    total = {}
    for e in kernels:
        n, t = total.get(e["name"], (0, 0.0))
        total[e["name"]] = (n + 1, t + e["dur"])
    for kernel, (n, t) in sorted(total.items(), key=lambda i: -i[1][1])[:18]:
        print(f"  {t / steps:8.1f} us  {n / steps:6.1f} times  {kernel[:110]}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
PYTHON

check=("$python" "$work/check.py")
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

# ---- what is right: side by side, once the embedded data lie in the cache (several first runs at once fall over each other)
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
    say "" && say "== scores of the embedded tasks (houlsby), by device and precision" && "${check[@]}" compare | note
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
