"""docs/errors.md: the error messages for wrong input, written and checked by this file.

ADAPTER_TUNE_WRITE=1 python -m pytest tests/test_errors_document.py     # writes the document again
"""

import os
from pathlib import Path

import pytest
from safetensors.torch import save
from torch import zeros

from adapter_tune.cli import main

DOCUMENT = Path(__file__).parent.parent / "docs" / "errors.md"
HEAD = """# Error messages

Each row shows what `adapter-tune` prints after `error: `, and the exit code: 2 for a wrong command or configuration, 1
for any other error. After an error, existing files are unchanged, and there is no incomplete file.
`tests/test_errors_document.py` writes this table and checks it.

| input | command | message | code |
| --- | --- | --- | --- |
"""
GOOD = "text,label\n" + "".join(f"the dog {i},{'ab'[i % 2]}\n" for i in range(20))
TRAIN = "train --train-file train.csv --model demo"
PREDICT = "predict --runs runs --output out.csv --input"
HUB = '{"name": "x", "config": {"mh_adapter": true, "use_gating": true}}'
LANGUAGE = HUB.replace('"use_gating": true', '"output_adapter": true, "reduction_factor": 2, "non_linearity": "relu"')
LANGUAGE = LANGUAGE.replace('"reduction', '"inv_adapter": "nice", "reduction')
PEFT = '{"peft_type": "LORA", "task_type": "SEQ_CLS", "use_dora": true}'
Files = dict[str, str | bytes]
CASES: list[tuple[str, Files, str]] = [
    ("an unknown command", {}, "trian --demo"),
    ("an unknown option", {}, "train --demo --epoch 3"),
    ("an unknown task", {}, "train --demo --task mnly"),
    ("no task", {}, "train"),
    ("an unknown option in YAML", {"my.yaml": "task: rte\ntraining:\n  epoch: 3\n"}, "train --config my.yaml"),
    ("an unknown option without a value", {"my.yaml": "task: rte\nepochs:\n"}, "config validate my.yaml"),
    ("a sweep in the place of a configuration", {}, "config validate paper/sweeps/glue"),
    ("a copy over an existing file", {"my.yaml": "task: rte\n"}, "config cp glue/rte my.yaml"),
    ("a folder that is neither a run nor a file", {}, "config diff runs glue/rte"),
    ("a wrong value in YAML", {"my.yaml": "task: rte\ntraining: {batch_size: many}\n"}, "train --config my.yaml"),
    ("YAML that does not parse", {"my.yaml": "task: [rte\n"}, "train --config my.yaml"),
    ("a missing configuration", {}, "train --config mine.yaml"),
    ("two configurations", {"my.yaml": "task: rte\n"}, "train my.yaml --config glue/rte"),
    ("rows in the place of a configuration", {"train.csv": GOOD}, "train train.csv"),
    ("a task in the place of a configuration", {}, "train mnli"),
    ("a path in a configuration that leads to two files", {"conf/my.yaml":
     "task: custom\ndata: {custom: {train_file: train.csv}}\n", "conf/train.csv": GOOD, "train.csv": GOOD[:-1]},
     "train conf/my.yaml"),
    ("no data for a new configuration", {}, "init"),
    ("a missing file for a new configuration", {"train.csv": GOOD}, "init trian.csv"),
    ("a configuration that exists already", {"train.csv": GOOD, "task.yaml": "task: rte\n"}, "init train.csv"),
    ("a first line that is a row", {"train.csv": "\n".join(f"the dog {i},{'ab'[i % 2]}" for i in range(20))},
     "init train.csv --model demo"),
    ("no column that looks like labels", {"train.csv": "text,id\n" + "".join(f"dog {i},{i}\n" for i in range(20))},
     "init train.csv --model demo"),
    ("a bottleneck size of 0", {}, "train --task rte --m 0"),
    ("a layer that the backbone does not have", {}, "train --demo --task rte --set strategy.layers=3-4"),
    ("a list of sizes of the wrong length", {}, "train --demo --task rte --m [8,8]"),
    ("more layers than the backbone has", {}, "train --demo --task rte --strategy top_n --set strategy.n=5"),
    ("an unknown strategy", {}, "train --task rte --strategy hulsby"),
    ("an option of another strategy", {}, "train --task rte --strategy full --set strategy.m=8"),
    ("more tokens than the backbone has positions", {}, "train --demo --task rte --set data.max_length=500"),
    ("a precision that needs a GPU", {}, "train --demo --task rte --set training.precision=fp16"),
    ("a missing model", {}, "train --task rte --model ./nowhere --set data.source=demo"),
    ("options of your own data with a GLUE task", {"train.csv": GOOD}, f"{TRAIN} --task rte"),
    ("an empty file", {"train.csv": ""}, TRAIN),
    ("a header without rows", {"train.csv": "text,label\n"}, TRAIN),
    ("a missing file", {}, TRAIN),
    ("a missing validation file", {"train.csv": GOOD}, f"{TRAIN} --validation-file dev.csv"),
    ("both a file and a data set", {"train.csv": GOOD}, f"{TRAIN} --set data.source=some/set"),
    ("an unknown file format", {"rows.xlsx": "x"}, "train --train-file rows.xlsx --model demo"),
    ("no column with a usual name for the label", {"train.csv": "text,mark\nx,a\n"}, TRAIN),
    ("no column with a usual name for the text", {"train.csv": "a,b,label\nx,y,z\n"}, TRAIN),
    ("an unknown column", {"train.csv": GOOD}, f"{TRAIN} --label-column lable"),
    ("one column for text and label", {"train.csv": GOOD}, f"{TRAIN} --text-column label --label-column label"),
    ("two columns with the same name", {"train.csv": "text,text,label\nx,y,a\n"}, TRAIN),
    ("one class only", {"train.csv": "text,label\nx,a\ny,a\n"}, TRAIN),
    ("an empty label", {"train.csv": "text,label\nx,a\ny,\n"}, TRAIN),
    ("a row with too many fields", {"train.csv": "text,label\nx,a\ny,b,c\n"}, TRAIN),
    ("a quote that is not closed", {"train.csv": 'text,label\n"x,a\n'}, TRAIN),
    ("an encoding other than UTF-8", {"train.csv": b"text,label\ncaf\xe9,a\n"}, TRAIN),
    ("too few rows to hold some out", {"train.csv": "text,label\nx,a\ny,b\n"}, TRAIN),
    ("a word instead of a number", {"train.csv": "text,label\nx,1.5\ny,two\n"}, f"{TRAIN} --problem regression"),
    ("NaN as a label", {"train.csv": "text,label\nx,1.5\ny,nan\n"}, f"{TRAIN} --problem regression"),
    ("NaN among numbers of classes", {"train.csv": "text,label\nx,0\ny,nan\nz,1\n"}, TRAIN),
    ("one number written as two codes", {"train.csv": "text,label\nx,7\ny,007\nz,1\n"}, TRAIN),
    ("decimal commas", {"train.csv": 'text,label\nx,"3,5"\ny,"4,0"\n'}, TRAIN),
    ("another label in every row", {"train.csv": "text,label\n" + "".join(f"x,id {i}\n" for i in range(40))}, TRAIN),
    ("a class that does not exist", {"train.csv": GOOD}, f"{TRAIN} --set data.custom.positive=c"),
    ("a TSV file with a text over two lines", {"train.tsv": 'text\tlabel\n"x\ny"\ta\n'},
     "train --train-file train.tsv --model demo"),
    ("a TSV file in quotes", {"train.tsv": '"text"\t"label"\n"x"\t"a"\n'}, "train --train-file train.tsv --model demo"),
    ("mixed types", {"rows.jsonl": '{"text": "a", "label": "x"}\n{"text": "b", "label": {"y": 1}}\n'},
     "train --train-file rows.jsonl --model demo"),
    ("a number instead of a text", {"rows.jsonl": '{"text": "a", "label": "x"}\n{"text": 3, "label": "y"}\n'},
     "train --train-file rows.jsonl --validation-file rows.jsonl --model demo"),
    ("a label in validation that training lacks", {"train.csv": GOOD, "dev.csv": "text,label\nx,a\ny,c\n"},
     f"{TRAIN} --validation-file dev.csv"),
    ("validation rows without a label", {"train.csv": GOOD, "dev.csv": "text,mark\nx,a\n"},
     f"{TRAIN} --validation-file dev.csv"),
    ("a test file without rows", {"train.csv": GOOD, "test.csv": "text,label\n"}, f"{TRAIN} --test-file test.csv"),
    ("a single validation row for a regression", {"train.csv": "text,label\n" + "x,1.5\ny,2\n" * 20,
     "dev.csv": "text,label\nx,1.5\n"}, f"{TRAIN} --validation-file dev.csv"),
    ("many different whole numbers as labels", {"train.csv": "text,label\n" + "".join(f"x,{i}\n" for i in range(300))},
     TRAIN),
    ("a class listed twice", {"train.csv": GOOD}, f"{TRAIN} --set data.custom.labels=[a,b,a]"),
    ("an incomplete Unicode character", {"rows.jsonl": '{"text": "a\\ud800", "label": "x"}\n'},
     "train --train-file rows.jsonl --model demo"),
    ("a two-class metric with three classes", {"train.csv": GOOD + "the cat,c\nthe cat,c\n"},
     f"{TRAIN} --set data.custom.metric=f1"),
    ("a regression metric with classes", {"train.csv": GOOD}, f"{TRAIN} --set data.custom.metric=r2"),
    ("an unknown metric", {"train.csv": GOOD}, f"{TRAIN} --set data.custom.metric=acuracy"),
    ("a metric that needs probabilities", {"train.csv": GOOD}, f"{TRAIN} --set data.custom.metric=roc_auc"),
    ("class weights for a regression", {"train.csv": "text,label\n" + "x,1.5\ny,2\n" * 20},
     f"{TRAIN} --set training.class_weights=balanced"),
    ("no input to predict on", {}, "predict --runs runs"),
    ("no finished run", {}, "predict --runs nowhere --text x"),
    ("an unknown split", {}, "predict --runs runs --split dev --output out.csv"),
    ("a missing column to predict on", {"new.csv": "sentence1,sentense2\na,b\n"}, f"{PREDICT} new.csv"),
    ("a line that is not JSON", {"new.jsonl": '{"sentence1": "a", "sentence2": "b"}\n{"sen\n'}, f"{PREDICT} new.jsonl"),
    ("a damaged Parquet file", {"new.parquet": "PAR1 nonsense"}, f"{PREDICT} new.parquet"),
    ("an unknown output format", {}, "predict --runs runs --split test --output out.xlsx"),
    ("a missing second text", {}, "predict --runs runs --text x"),
    ("a split of several runs", {}, "predict runs/run other --split test --output out.csv"),
    ("a run given twice", {"new.csv": "a,b\nx,y\n"}, "predict runs/run runs/run --input new.csv --output out.csv"),
    ("a folder without a run", {"new.csv": "a,b\nx,y\n"}, "predict runs/run other --input new.csv --output out.csv"),
    ("a folder that is no run", {}, "ask other"),
    ("a run that is neither a folder nor on the Hub", {}, "eval someone/rte"),
    ("an invalid name for the Hub", {}, "push runs/run rte-adapter"),
    ("a push while the Hub is turned off", {}, "push runs/run someone/rte"),
    ("a task without a run", {}, "submit runs/run"),
    ("an unknown format", {}, "export runs/run --format adapterhup --output out"),
    ("a folder that exists", {}, "export runs/run --format adapterhub --output runs"),
    ("a folder without an adapter", {}, "import runs --output out"),
    ("an option of AdapterHub without a counterpart", {"hub/adapter_config.json": HUB, "hub/pytorch_adapter.bin": ""},
     "import hub --model demo --output out"),
    ("a language adapter in the place of a task's adapter", {"hub/adapter_config.json": LANGUAGE,
        "hub/adapter.safetensors": save({"invertible_adapters.x.F.0.bias": zeros(1)})}, "import hub --output out"),
    ("a language adapter that is not there", {"train.csv": GOOD}, f"{TRAIN} --set model.language_adapter=nowhere"),
    ("an adapter of AdapterHub in the place of a run", {"hub/adapter_config.json": HUB},
     "export hub --format adapterhub --output out"),
    ("an option of peft without a counterpart", {"peft/adapter_config.json": PEFT, "peft/adapter_model.bin": ""},
     "import peft --model demo --output out"),
    ("an adapter of peft in the place of a run", {"peft/adapter_config.json": PEFT},
     "export peft --format peft --output out"),
    ("a folder without runs to serve", {"new.csv": GOOD}, "serve ."),
    ("changes from any folder", {}, "serve runs --allow-changes"),
    ("a queue that is shorter than a request", {}, "serve runs --max-queue 5"),
    ("an address that the machine does not have", {}, "serve runs --host 192.0.2.1"),
]  # fmt: skip


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, int]:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert isinstance(stopped.value.code, int)
    return capsys.readouterr().err.strip().splitlines()[-1].removeprefix("error: "), stopped.value.code


def test_the_document_has_the_printed_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sets = ["--set", "training.max_steps=1", "--set", "data.max_train_samples=8", "--set", "data.max_eval_samples=8"]
    main(["train", "--demo", "--task", "rte", "--m", "1", *sets])
    next(Path("runs").iterdir()).rename("runs/run")
    lines = []
    for label, files, command in CASES:
        for name, content in files.items():
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        message, code = error_of(command.split(), capsys)
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before, label
        assert "unexpected" not in message or "end of data" in message, label
        lines.append(f"| {label} | `{command}` | {message.replace('|', '/')} | {code} |")
        for name in files:
            Path(name).unlink()
    text = HEAD + "\n".join(lines) + "\n"
    if os.environ.get("ADAPTER_TUNE_WRITE"):
        DOCUMENT.write_text(text, encoding="utf-8")
    assert len(CASES) >= 30
    assert DOCUMENT.read_text(encoding="utf-8") == text
