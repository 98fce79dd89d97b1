"""The embedded demo data: GLUE in miniature, written once into a folder that ``load_dataset`` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import atomic_files

_SOURCES = Path(__file__).parent


def located_data(source: str) -> str:
    """Return what ``load_dataset`` needs for a data set: its name, or the folder of the embedded one.

    Raises:
        OSError: the folder cannot be written.
    """
    if source != DEMO:
        return source
    from datasets.config import HF_DATASETS_CACHE
    from filelock import FileLock

    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_SOURCES.glob("*.py"))))
    folder = Path(HF_DATASETS_CACHE) / "adapter-tune" / f"demo-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # several processes may use it for the first time at once
            if not folder.is_dir():
                write_data(folder)
    return str(folder)


def write_data(folder: Path, train: int | None = None, validation: int | None = None, seed: int = 0) -> None:
    """Write the demo's tasks and the diagnostic set; ``load_dataset(folder, task)`` then reads them as it reads GLUE.

    Args:
        folder: appears when it is complete.
        train: number of rows of a training split; 2,000 by default.
        validation: number of rows of every other split; 500 by default.
        seed: random seed of the rows.

    Raises:
        OSError: the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from adapter_tune.demo.glue import DEMO_TASKS, DIAGNOSTIC, rows, splits

    card = ["---", "configs:"]  # the data set card tells load_dataset which file is which split
    with atomic_files.new_folder(folder) as new:
        for task in (*DEMO_TASKS, DIAGNOSTIC):
            (new / task).mkdir()
            card += [f"- config_name: {task}", "  data_files:"]
            schema = _schema(task)
            for split, (default_size, _) in splits(task).items():
                size = (train if split == "train" else validation) or default_size
                table = pa.Table.from_pylist(list(rows(task, split, size, seed)), schema)
                pq.write_table(table, new / task / f"{split}.parquet")
                card += [f"  - split: {split}", f"    path: {task}/{split}.parquet"]
        card += ["---", ""]
        atomic_files.write_text(new / "README.md", "\n".join(card))


def _schema(task: str) -> Any:
    """Return the Arrow schema of a task's rows; it has the label names, as on the Hub."""
    from datasets import ClassLabel, Features, Value

    from adapter_tune.demo.glue import columns, glue_task

    labels = glue_task(task).labels
    features: dict[str, Any] = {column: Value("string") for column in columns(task)}
    features["label"] = ClassLabel(names=list(labels)) if labels else Value("float32")
    features["idx"] = Value("int32")
    return Features(features).arrow_schema
