"""Parts of scripts/check_gpu.sh, each a function named on the command line."""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code=misc

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
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
DEVICE = os.environ.get("DEVICE", "cpu")
SMALL = bool(os.environ.get("SMALL"))
WORK = Path(os.environ.get("WORK", "."))
EPOCH = -(-392_702 // 32)  # steps of an MNLI epoch


class EnoughError(Exception):
    """The steps that were to be timed are over."""


def train(trainer):
    with contextlib.suppress(EnoughError):
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


def env():
    """Versions, the two ceilings, and what one launch, one copy and one synchronisation cost the host."""
    import importlib.metadata as meta

    import torch

    names = ["torch", "transformers", "accelerate", "datasets", "evaluate", "huggingface_hub", "tokenizers", "peft"]
    names += ["numpy", "pyarrow", "pydantic", "typing_extensions"]
    for name in names:
        try:
            print(f"{name} {meta.version(name)}", end="  ")
        except Exception:
            print(f"{name} MISSING", end="  ")
    print()
    if DEVICE != "cuda":
        return
    p = torch.cuda.get_device_properties(0)
    print(
        f"{p.name}, capability {p.major}.{p.minor}, {p.total_memory / 2**30:.0f} GiB, {p.multi_processor_count} SMs, "
        f"CUDA {torch.version.cuda}, built for {' '.join(torch.cuda.get_arch_list())}, cores {os.cpu_count()}"
    )
    print("bf16 native", torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        print("attention backends in their order", torch._C._get_sdp_priority_order())
    except Exception as error:
        print("attention order unknown:", error)
    from adapter_tune.modeling.precision import matmul_rate

    print(f"matmul_rate as bench uses it (size 1024): {matmul_rate('cuda', torch.bfloat16) / 1e12:.0f} TFLOP/s")
    n = 8192
    a = torch.randn(n, n, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(n, n, device="cuda", dtype=torch.bfloat16)
    print(f"the same at 8192, random numbers: {2 * n**3 / clocked(lambda: a @ b) / 1e9:.0f} TFLOP/s")
    big = torch.empty(2**28, device="cuda", dtype=torch.float32)
    print(f"copy on the device: {2 * big.nbytes / clocked(big.clone) / 1e9:.2f} TB/s")
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
        kernels = sorted({e.key for e in prof.key_averages() if "attention" in e.key and "::_" in e.key})
        print(f"attention {what}:", ", ".join(kernels))


def demo_config(task, precision, output, **training):
    from adapter_tune.config.compose import compose

    sets = [f"training.{key}={value}" for key, value in {"precision": precision, "device": DEVICE, **training}.items()]
    flags = {"--task task": task, "--strategy strategy.name": "houlsby", "--output output": str(output)}
    rows = ["data.max_train_samples=64", "data.max_eval_samples=32", "training.epochs=2"] if SMALL else []
    return compose(None, flags, [*sets, *rows], demo=True)


def prepare():
    """Write the demo data into the cache."""
    from adapter_tune.demo.dataset import located_data
    from adapter_tune.demo.location import DEMO

    located_data(DEMO)


def scores(precision):
    """The demo tasks on one device in one precision."""
    import torch

    from adapter_tune import run
    from adapter_tune.foundation.console import limit_library_output

    limit_library_output(quiet=True)
    torch.set_num_threads(2)
    found = {}
    for task in ("rte",) if SMALL else ("rte", "stsb", "sst2"):
        start = time.perf_counter()
        result = run(demo_config(task, precision, WORK / f"scores-{DEVICE}-{precision}"), force=True)
        found[task] = [
            result.headline.value,
            time.perf_counter() - start,
            result.speed.train_examples_per_second,
            result.speed.precision,
        ]
        print(task, found[task], result.warnings, flush=True)
    (WORK / f"scores-{DEVICE}-{precision}.json").write_text(json.dumps(found))


def compare():
    """The table of all scores; a difference of two points is worth a look."""
    found = {f.stem.removeprefix("scores-"): json.loads(f.read_text()) for f in sorted(WORK.glob("scores-*.json"))}
    reference = found.get("cpu-float32", {})
    for name, tasks in found.items():
        row = []
        for task, (score, _, rows_per_second, _) in tasks.items():
            differs = task in reference and abs(score - reference[task][0]) > 0.02
            row.append(f"{task} {score:.4f}{' DIFFERS' if differs else ''} ({rows_per_second:.0f} rows/s)")
        print(f"{name:14}", "  ".join(row))


def one_run(name, deterministic, stop, kept):
    """A run that is told to stop at a step, or to its end; the digest of what was learnt."""
    import torch
    from safetensors.torch import load_file
    from transformers import TrainerCallback

    from adapter_tune import run
    from adapter_tune.foundation.console import limit_library_output

    limit_library_output(quiet=True)
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
        config = config.model_copy(
            update={"strategy": type(config.strategy)(**{**config.strategy.model_dump(), "layers": "top-1"})}
        )
    try:
        result = run(config, callbacks=[Stop()] if stop != "0" else [])
    except SystemExit as end:
        print(name, "stopped with", end.code)
        return
    tensors = load_file(Path(result.storage.folder) / "adapter" / "adapter_model.safetensors")
    digest = hashlib.sha256(b"".join(tensors[k].numpy().tobytes() for k in sorted(tensors))).hexdigest()
    losses = [entry["loss"] for entry in result.history if "loss" in entry]
    (WORK / f"resume-{name}.json").write_text(
        json.dumps({"digest": digest, "losses": losses, "score": result.headline.value})
    )
    print(name, digest[:16], result.headline.value, len(losses), "losses, first and last", losses[:1], losses[-1:])


def resumed():
    """Whether the stopped runs learnt what the undisturbed ones did."""
    for kind in ("det", "det-kept", "free"):
        files = [WORK / f"resume-{kind}-{which}.json" for which in ("whole", "stopped")]
        if not all(file.is_file() for file in files):
            print(f"{kind}: a run is missing: {[f.name for f in files if not f.is_file()]}")
            continue
        whole, stopped = (json.loads(file.read_text()) for file in files)
        apart = max(
            (abs(a - b) for a, b in zip(whole["losses"], stopped["losses"], strict=False)), default=float("nan")
        )
        same = whole["digest"] == stopped["digest"] and whole["losses"] == stopped["losses"]
        equal = "EQUAL to the bit" if same else "NOT equal"
        scores = f"{whole['score']:.4f} {stopped['score']:.4f}"
        print(f"resume {kind}: {equal}; losses at most {apart:.3g} apart, scores {scores}")


def trainer_of(kind, steps, strategy="houlsby", tune=None, first=None, **options):
    """A trainer over random rows of MNLI's lengths, as the bench has it, of a given class."""
    import torch
    from transformers import AutoTokenizer, TrainerCallback

    from adapter_tune.bench import worker as bench
    from adapter_tune.config.resolved import resolved
    from adapter_tune.config.schema import parse_config
    from adapter_tune.data.splits import Splits
    from adapter_tune.demo.location import DEMO, located_model
    from adapter_tune.foundation.console import limit_library_output
    from adapter_tune.training.speed_monitor import SpeedMonitor

    limit_library_output(quiet=True)
    own = {"name": strategy, "m": 64} if strategy == "houlsby" else {"name": strategy}
    model = "google-bert/bert-base-uncased" if not SMALL else "google/bert_uncased_L-2_H-128_A-2"
    training = {"max_steps": steps, "device": DEVICE, "logging_steps": 20, "eval_batch_size": 32, **options}
    if DEVICE == "cpu":
        training["precision"] = "float32"
    folder = WORK / f"loop-{time.monotonic_ns()}"
    values = {"task": "mnli", "model": model, "strategy": own, "training": training, "output": str(folder)}
    config = resolved(parse_config(values))
    built = bench.random_model(config)
    if tune is not None:
        tune(built)
    words = built.model.config.vocab_size
    rows = bench._random_rows(config, words, "mnli", steps * 32, seed=1)
    held = bench._random_rows(config, words, "mnli", 64, seed=2)
    clock = SpeedMonitor()

    class Window(TrainerCallback):
        """Milliseconds a step from a first step to the last, device work included."""

        start = ms = host = 0.0
        at = 0

        def on_step_begin(self, args, state, control, **_):
            if state.global_step == (first or steps // 4):
                sync()
                self.start = time.perf_counter()
                self.at = state.global_step

        def on_step_end(self, args, state, control, **_):
            if state.global_step == steps:
                self.host = 1e3 * (time.perf_counter() - self.start) / (steps - self.at)
                sync()
                self.ms = 1e3 * (time.perf_counter() - self.start) / (steps - self.at)
                raise EnoughError  # no evaluation, no checkpoint

    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    window = Window()
    tokenizer = AutoTokenizer.from_pretrained(located_model(DEMO))
    trainer = kind(
        config, built, tokenizer, folder, Splits(rows, {config.task_spec.validation[0]: held}), [clock, window], clock
    )
    trainer.window = window
    trainer.step_losses = []
    return trainer


def watched():
    """The trainer, with the losses of its steps kept."""
    from adapter_tune.training.trainer import AdapterTrainer

    class Watched(AdapterTrainer):
        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            self.step_losses.append(loss.clone())
            return loss

    return Watched


def graphs_text(trainer, if_off):
    """How many graphs the trainer has recorded; ``if_off`` if it uses them no longer."""
    if trainer.step_graphs is None:
        return "no graphs"
    graphs = trainer.step_graphs.graphs
    return f"{len(graphs)} graphs" if graphs.is_on else if_off


def report(name, trainer):
    import torch

    ms = trainer.window.ms
    host = trainer.window.host
    memory = f", peak {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if DEVICE == "cuda" else ""
    graphs = "" if trainer.step_graphs is None else f", {graphs_text(trainer, 'graphs given up')}"
    epoch = EPOCH * ms / 1e3
    print(f"{name:30} {ms:7.2f} ms a step (host {host:.2f}), an MNLI epoch {epoch:6.0f} s{memory}{graphs}", flush=True)
    return torch.stack([loss.float().cpu() for loss in trainer.step_losses[:60]])


CASES: dict[str, dict[str, Any]] = {
    "full": {"strategy": "full"},
    "houlsby": {},
    "houlsby, no graphs": {"graphs": False},
    "houlsby, three products": {"without": "adapter_tune.training.trainer.fuse_projections"},
    "houlsby, one cast each": {"without": "adapter_tune.modeling.fast_paths.AdapterCasts"},
    "houlsby, training.fast=false": {"fast": False},
    "houlsby, float32": {"precision": "float32"},
    "top_n n=1": {"strategy": "top_n"},
    "head": {"strategy": "head"},
    "houlsby, compiled": {"compile": True},
}
SLOW = {"houlsby, compiled"}  # minutes to compile: only if CASES names it


def case(name, steps):
    options = dict(CASES[name])
    graphs = options.pop("graphs", True)
    without = options.pop("without", None)  # a fast path that does nothing in this case
    with patch(without, lambda *_: None) if without else contextlib.nullcontext():
        trainer = trainer_of(watched(), steps, **options)
    if not graphs and trainer.step_graphs is not None:
        trainer.step_graphs.graphs.is_on = False
    return trainer


def loop():
    """Ordinary training, and the kernels of a step."""
    steps = 8 if SMALL else 240
    losses = {}
    for name in (
        os.environ["CASES"].split(";") if os.environ.get("CASES") else [name for name in CASES if name not in SLOW]
    ):
        try:
            trainer = case(name, steps)
            train(trainer)
            losses[name] = report(name, trainer)
            del trainer
        except Exception:
            print(name, "FAILED")
            traceback.print_exc(file=sys.stdout)
    if {"houlsby", "houlsby, no graphs"} <= losses.keys():
        apart = (losses["houlsby"] - losses["houlsby, no graphs"]).abs().max()
        print(f"losses of the first {len(losses['houlsby'])} steps, with graphs and without: at most {apart:.3g} apart")
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

    trainer = case(name, 161 + steps)
    watch = Profile()
    trainer.add_callback(watch)
    train(trainer)
    print(f"\nthe host in {steps} steps, seconds:")
    stats = pstats.Stats(watch.prof, stream=sys.stdout)
    stats.strip_dirs().sort_stats("cumtime").print_stats(45)


def families():
    """A tiny model of every family trains; which of them are recorded as graphs."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from adapter_tune.adapters.families import FAMILIES
    from adapter_tune.bench import worker as bench
    from adapter_tune.config.resolved import resolved
    from adapter_tune.config.schema import parse_config
    from adapter_tune.data.splits import Splits
    from adapter_tune.demo.location import DEMO, located_model
    from adapter_tune.foundation.console import limit_library_output
    from adapter_tune.modeling.build import PreparedModel, prepare
    from adapter_tune.training.speed_monitor import SpeedMonitor

    limit_library_output(quiet=True)
    tokenizer = AutoTokenizer.from_pretrained(located_model(DEMO))
    own: dict[str, dict[str, Any]] = {
        "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8},
        "electra": {"embedding_size": 64},
        "distilbert": {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 2},
        "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8},
    }
    for kind in FAMILIES:
        shape = {
            "vocab_size": 1000,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 128,
        }
        given = own.get(kind, {}) if kind == "distilbert" else {**shape, **own.get(kind, {})}
        losses = {}
        for on in (True, False):
            try:
                values = {
                    "task": "mnli",
                    "strategy": {"name": "houlsby", "m": 8},
                    "output": str(WORK / "families"),
                    "training": {"max_steps": 12, "device": DEVICE, "logging_steps": 100},
                }
                config = resolved(parse_config(values))
                torch.manual_seed(1)
                model = AutoModelForSequenceClassification.from_config(
                    AutoConfig.for_model(
                        kind,
                        num_labels=3,
                        pad_token_id=0,
                        max_position_embeddings=160,
                        problem_type="single_label_classification",
                        **given,
                    )
                )
                prepare(model, config.strategy, train_pooler=config.strategy.trains_pooler)
                rows = bench._random_rows(config, 1000, "24", 12 * 32, seed=1)
                trainer = watched()(
                    config,
                    PreparedModel(model, config.model, "random", frozenset()),
                    tokenizer,
                    WORK / "families",
                    Splits(rows, {config.task_spec.validation[0]: rows.select(range(32)).flatten_indices()}),
                    [],
                    SpeedMonitor(),
                )
                trainer.step_losses = []
                if trainer.step_graphs is not None:
                    trainer.step_graphs.graphs.is_on = on
                score = {f"eval_{config.task_spec.validation[0]}_accuracy": 0.0}
                trainer.evaluate = partial(dict, score)
                trainer._save_checkpoint = trainer._load_best_model = lambda *_, **__: None
                trainer.train()
                losses[on] = torch.stack([loss.float().cpu() for loss in trainer.step_losses])
                how = graphs_text(trainer, "graphs off")
            except Exception as error:
                print(f"{kind:12} FAILED: {type(error).__name__}: {str(error).splitlines()[0]}")
                traceback.print_exc()
                break
            if on:
                first = how
        else:
            apart = (losses[True] - losses[False]).abs().max()
            print(f"{kind:12} {first}, losses with and without at most {apart:.3g} apart", flush=True)


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

    trainer = case(name, 161 + steps)
    watch = Profile()
    trainer.add_callback(watch)
    train(trainer)
    trace = WORK / "trace.json"
    watch.prof.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    work = sorted(
        (e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")
    )
    kernels = [e for e in events if e.get("cat") == "kernel"]
    busy = 0.0
    end = work[0][0]
    for start, stop in work:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    whole = end - work[0][0]
    calls: dict[str, int] = {}
    for e in events:
        if e.get("cat") in ("cuda_runtime", "cuda_driver"):
            calls[e["name"]] = calls.get(e["name"], 0) + 1
    most = sorted(calls.items(), key=lambda item: -item[1])[:8]
    print(f"\n{name}: {len(kernels) / steps:.0f} kernels a step, GPU busy {busy / steps / 1e3:.2f} ms")
    print(f"of {whole / steps / 1e3:.2f} ms a step (idle {1 - busy / whole:.0%}, profiled); calls a step:")
    print("  " + ", ".join(f"{call} {count / steps:.1f}" for call, count in most))
    total: dict[str, tuple[int, float]] = {}
    for e in kernels:
        n, t = total.get(e["name"], (0, 0.0))
        total[e["name"]] = (n + 1, t + e["dur"])
    for kernel, (n, t) in sorted(total.items(), key=lambda i: -i[1][1])[:18]:
        print(f"  {t / steps:8.1f} us  {n / steps:6.1f} times  {kernel[:110]}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
