"""The embedded data: GLUE in miniature, written once where ``load_dataset`` finds it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import atomic_files
from adapter_tune.tasks.glue import TASKS

_HERE = Path(__file__).parent


def located_data(source: str) -> str:
    """Where ``load_dataset`` finds a data set: its name, or the folder of the embedded one.

    Raises:
        OSError: the folder cannot be written.
    """
    if source != DEMO:
        return source
    from filelock import FileLock
    from huggingface_hub.constants import HF_HOME

    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py"))))
    folder = Path(HF_HOME) / "adapter-tune" / f"demo-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # several processes may use it for the first time at once
            if not folder.is_dir():
                write_data(folder)
    return str(folder)


def write_data(folder: Path, train: int | None = None, validation: int | None = None, seed: int = 0) -> None:
    """Write all tasks and the diagnostic set where ``load_dataset(folder, task)`` reads them as from the Hub.

    Args:
        folder: comes into being whole or not at all.
        train: rows of a training split; 2,000 by default.
        validation: rows of every other split; 500 by default.
        seed: of the rows.

    Raises:
        OSError: the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import ClassLabel, Features, Value

    from adapter_tune.demo.glue import DIAGNOSTIC, columns, rows, splits

    card = ["---", "configs:"]
    with atomic_files.new_folder(folder) as aside:
        for task in (*TASKS, DIAGNOSTIC):
            names = TASKS["mnli" if task == DIAGNOSTIC else task].labels
            features = Features({
                **{column: Value("string") for column in columns(task)},
                "label": ClassLabel(names=list(names)) if names else Value("float32"),
                "idx": Value("int32"),
            })  # fmt: skip
            (aside / task).mkdir()
            card += [f"- config_name: {task}", "  data_files:"]
            for split, (size, _) in splits(task).items():
                wanted = (train if split == "train" else validation) or size
                table = pa.Table.from_pylist(list(rows(task, split, wanted, seed)), features.arrow_schema)
                pq.write_table(table, aside / task / f"{split}.parquet")
                card += [f"  - split: {split}", f"    path: {task}/{split}.parquet"]
        atomic_files.write_text(aside / "README.md", "\n".join([*card, "---", ""]))
