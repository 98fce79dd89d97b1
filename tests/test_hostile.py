"""Files from elsewhere: nothing in them is executed, refers to a place outside its folder, or is believed unseen."""

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter_tune.foundation.errors import AdapterTuneError, RunError
from adapter_tune.modeling.build import build_model
from adapter_tune.run_files import checkpoints
from adapter_tune.run_files.adapter_files import CONFIG, FORMAT, WEIGHTS
from adapter_tune.runs import loading
from adapter_tune.runs.loading import load
from adapter_tune.runs.run import run
from adapter_tune.training.trainer import AdapterTrainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, backbone: str, glue: str) -> Path:
    from adapter_tune.config.schema import parse_config

    out = tmp_path_factory.mktemp("trained")
    data, training = {"source": glue, "max_length": 32}, {"epochs": 1, "max_steps": 1}
    strategy = {"name": "houlsby", "m": 4}
    values = {"task": "rte", "model": backbone, "strategy": strategy, "data": data, "training": training}
    return Path(run(parse_config({**values, "output": str(out)})).storage.folder) / "adapter"


def edit(**changes: Any) -> Callable[[Path], None]:
    """Change values of ``adapter_config.json``; a dotted key goes into a section."""

    def edited(folder: Path) -> None:
        values = json.loads((folder / CONFIG).read_text())
        for path, value in changes.items():
            *sections, key = path.split("__")
            inner = values
            for section in sections:
                inner = inner[section]
            inner[key] = value
        (folder / CONFIG).write_text(json.dumps(values))

    return edited


def flip(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def long_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((2**62).to_bytes(8, "little") + b"{}")


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (flip, r"adapter_model.safetensors: tensor [\w.]+ has changed since it was saved"),
    (cut, "damaged or incomplete"),
    (long_header, "damaged or incomplete"),
    (edit(sha256=""), "adapter_model.safetensors: it has changed since it was saved"),
    (edit(format=FORMAT + 1), "too new for this version"),
    (edit(strategy__m=65_536), r"needs 17,\d+,\d+ trained parameters, but adapter_model.safetensors contains"),
    (edit(strategy__m=10**12), "should be a whole number from 1 to 65536"),
    (edit(strategy__m=8, strategy__depth=64), "trained parameters, but"),
    (edit(strategy__name="os.system"), "unknown strategy"),
    (edit(max_length=10**12), "max_length"),
    (edit(data={"source": "/etc"}), "data.source should not be in it"),
    (edit(data={"train_file": "/etc/passwd"}), "data.train_file should not be in it"),
    (edit(model__trust_remote_code=True), "trust_remote_code"),
    (edit(model__id="../../elsewhere"), "refers to a place outside its folder"),
    (edit(labels=["a"] * 9), "are not those of rte"),
    (edit(fingerprint="0" * 64), "the adapter belongs to backbone"),
    (edit(task="custom"), "data.custom.text_column: is missing"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=[message for _, message in DAMAGE])
def test_a_changed_adapter_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, message: str
) -> None:
    folder = shutil.copytree(trained, tmp_path / "adapter")
    load(folder)
    if "trained parameters, but" in message:
        monkeypatch.setattr(loading, "build_model", lambda *_: pytest.fail("it was built before it was checked"))
    damage(folder)
    with pytest.raises(AdapterTuneError, match=message) as caught:
        load(folder)
    assert isinstance(caught.value, RunError)


def test_a_flipped_bit_is_traced_to_its_tensor(trained: Path, tmp_path: Path) -> None:
    path = shutil.copytree(trained, tmp_path / "adapter") / WEIGHTS
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    places = {name: at["data_offsets"] for name, at in json.loads(whole[8:start]).items() if name != "__metadata__"}
    for name, (first, last) in list(places.items())[::5]:
        changed = bytearray(whole)
        changed[start + (first + last) // 2] ^= 16
        path.write_bytes(changed)
        with pytest.raises(RunError, match=f"tensor {re.escape(name)} has changed since it was saved"):
            load(path.parent)


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return Path.touch, (self.proof,)


def test_weights_that_could_execute_code_are_not_read(make_config: Any, backbone: str, tmp_path: Path) -> None:
    folder, proof = shutil.copytree(backbone, tmp_path / "evil"), tmp_path / "proof"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(proof)))
    with pytest.raises(RunError, match=r"no model\.safetensors, and other formats can execute code"):
        build_model(make_config(model=str(folder)))
    assert not proof.exists()


def test_code_that_comes_with_a_model_is_not_run(make_config: Any, backbone: str, tmp_path: Path) -> None:
    folder, proof = shutil.copytree(backbone, tmp_path / "evil"), tmp_path / "proof"
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(proof)!r}).touch()\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="contains its own code, which is never executed"):
        build_model(make_config(model=str(folder)))
    assert not proof.exists()


def test_an_index_that_leads_out_of_its_folder_is_refused(make_config: Any, backbone: str, tmp_path: Path) -> None:
    folder = shutil.copytree(backbone, tmp_path / "evil")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {"bert.embeddings.word_embeddings.weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(RunError, match=r"'../outside\.safetensors' is not a file of this folder"):
        build_model(make_config(model=str(folder)))


@pytest.mark.parametrize("file", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_executes_nothing(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    config, proof = make_config("sst2", epochs=3), tmp_path / "proof"
    step = AdapterTrainer.training_step
    with monkeypatch.context() as patch:
        patch.setattr(
            AdapterTrainer, "training_step", lambda self, *a: step(self, *a) * (1 / (6 - self.state.global_step))
        )
        with pytest.raises(ZeroDivisionError):
            run(config)
    last = checkpoints.newest(config.folder)
    assert last is not None
    (last / file).write_bytes(pickle.dumps(Evil(proof)))
    checkpoints.seal(last)
    with pytest.raises(RunError, match=f"{last.name}: cannot be read"):
        run(config)
    assert not proof.exists()
