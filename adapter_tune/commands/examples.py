"""Two examples of each command, shown at the end of its help; the tests parse them."""

from __future__ import annotations

EXAMPLES = {
    "init": ("init", "init reviews.csv --yes --label-column stars"),
    "train": ("train --task mrpc --m 64", "train task.yaml --epochs 5"),
    "eval": ("eval runs/mrpc-houlsby-m64-0123abcd", "eval --input new.csv --output-json scores.json"),
    "predict": ("predict --text 'A good film.'", "predict runs/a runs/b --input new.csv --output labelled.csv"),
    "ask": ("ask", "ask runs/a runs/b"),
    "inspect-data": ("inspect-data task.yaml", "inspect-data --train-file messages.csv --label-column kind"),
    "ablate": ("ablate", "ablate runs/mrpc-houlsby-m64-0123abcd --attention-only"),
    "export": (
        "export --format adapterhub --output adapter",
        "export runs/a --format onnx --int8 --output model",
    ),
    "import": ("import adapter --output runs/imported", "import adapter --task mrpc --output runs/imported"),
    "push": ("push runs/a my-org/reviews", "push runs/a my-org/reviews --private --revision dev"),
    "submit": ("submit runs/cola runs/sst2 --allow-partial", "submit runs/* --output glue.zip"),
    "count-params": ("count-params --m 8,64,256", "count-params --strategy lora --set strategy.r=4 --json"),
    "sweep": ("sweep paper/sweeps/sizes-small --dry-run", "sweep my-sweep.yaml --workers 2"),
    "report": ("report runs", "report runs sweeps --output report"),
    "serve": ("serve runs", "serve runs --port 9000 --resident 64"),
    "bench": ("bench --strategy full --strategy 'houlsby layers=top-6'", "bench --onnx model --lengths rte --steps 5"),
    "env": ("env", "env --json"),
    "list": ("list tasks", "list strategies houlsby"),
    "config show": ("config show default", "config show paper/sweeps/glue"),
    "config cp": ("config cp glue/cola my.yaml", "config cp paper/sweeps/sizes my-sweep.yaml --force"),
    "config diff": ("config diff my.yaml glue/cola", "config diff runs/a runs/b --json"),
    "config validate": ("config validate my.yaml", "config validate my.yaml --task rte"),
    "config schema": ("config schema", "config schema sweep"),
}
"""The arguments of ``adapter-tune`` by the command's name."""


def examples(command: str) -> str:
    """Return the lines of the examples of a command."""
    return "\n".join(f"adapter-tune {words}" for words in EXAMPLES[command])
