"""``adapter-tune env``: its sections, each check, and no secrets."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from adapter_tune.cli import main
from adapter_tune.environment import block, caches, hub, machine, packages
from adapter_tune.environment.variables import SHOWN, secrets, variables, without_secrets
from adapter_tune.foundation import hub_errors

SECRETS = {
    "HF_TOKEN": "hf_AAAAAAAAAAAA",
    "HUGGING_FACE_HUB_TOKEN": "hf_BBBBBBBBBBBB",
    "ADAPTER_TUNE_API_KEY": "CCCCCCCCCCCC",
    "MY_SECRET": "DDDDDDDDDDDD",
    "HF_UNKNOWN_SETTING": "EEEEEEEEEEEE",
}


@pytest.fixture
def secret_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets in variables of their own, in the values of others, and in a URL."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:FFFF@GGGG@proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "someone:FFFF@proxy.example:3128")
    monkeypatch.setenv("PYTHONPATH", "/data/DDDDDDDDDDDD/lib")


@pytest.mark.parametrize("words", [["env"], ["env", "--json"]])
def test_no_secret_is_printed(secret_environment: None, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    main(words)
    out = capsys.readouterr().out
    assert not re.search(r"AAAA|BBBB|CCCC|DDDD|EEEE|FFFF|GGGG|someone", out)
    assert {"HF_TOKEN", "ADAPTER_TUNE_API_KEY", "HF_UNKNOWN_SETTING", "HTTPS_PROXY"} <= set(re.findall(r"\w+", out))
    assert "***@proxy.example:3128" in out
    assert "/data/***/lib" in out


def test_the_sections(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_connect", lambda host, port: f"{host} reachable")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    main(["env", "--json"])
    sections = json.loads(capsys.readouterr().out)
    assert sections["versions"]["torch"] == metadata.version("torch")
    assert sections["versions"]["adapter-tune"]
    assert sections["hub"] == "huggingface.co reachable"
    assert re.match(
        r"(float32|bf16) \(auto; bf16 is .*float32 [\d,]+ GFLOP/s, bf16 [\d,]+", sections["compute"]["precision"]
    )
    assert {each["variable"] for each in sections["caches"]} == {"HF_HUB_CACHE", "HF_DATASETS_CACHE", "TMPDIR"}
    text = block.as_text(sections)
    for name in ("versions", "machine", "compute", "caches", "hub: ", "variables", "problem"):
        assert f"\n{name}" in f"\n{text}"


def test_a_variable_without_meaning_here_is_left_out() -> None:
    assert variables({"EDITOR": "vi", "HF_HOME": "/x", "NCCL_DEBUG": "INFO"}) == {
        "HF_HOME": "/x",
        "NCCL_DEBUG": "set (the value is not shown)",
    }


def test_secrets_are_known_by_words_of_the_name() -> None:
    environment = {"TOKENIZERS_PARALLELISM": "false!", "WANDB_API_KEY": "0123456", "X_TOKEN": "01"}
    assert secrets(environment) == ["0123456"]
    assert without_secrets({"a": ["b 0123456"]}, environment) == {"a": ["b ***"]}


def test_secrets_are_known_without_underscores_too() -> None:
    environment = {"PGPASSWORD": "0123456", "APIKEY": "1234567", "GITHUB_PAT": "2345678", "COMPASS": "3456789"}
    assert sorted(secrets(environment)) == ["0123456", "1234567", "2345678"]


def test_no_variable_whose_name_says_secret_is_shown() -> None:
    """Also a value that is too short to be replaced wherever it is in the block."""
    assert secrets(dict.fromkeys(SHOWN, "0123456")) == []
    assert set(variables({"HF_TOKEN": "ab", "hf_token": "cd"}).values()) == {"set (the value is not shown)"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:word@host:1", "http://***@host:1"),
        ("http://me:w/o@r/d@host", "http://***@host"),
        ("me:word@host", "***@host"),
        ("https://me@host", "https://***@host"),
        ("https://me:word@a and https://me:word@b", "https://***@a and https://***@b"),
        ("https://host:8443/path", "https://host:8443/path"),
        ("/opt/a:/opt/b", "/opt/a:/opt/b"),
    ],
)
def test_users_and_passwords_in_addresses(text: str, shown: str) -> None:
    assert without_secrets(text, {}) == shown


def test_only_the_home_folder_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    sections: dict[str, Any] = {name: {} for name in ("versions", "machine", "compute")}
    sections |= {"caches": [], "hub": "", "variables": {"TMPDIR": "/home/ann/tmp:/home/anna:/home/ann"}, "problems": []}
    monkeypatch.setenv("HOME", "/home/ann")
    assert "TMPDIR: ~/tmp:/home/anna:~\n" in block.as_text(sections)
    monkeypatch.setenv("HOME", "/")
    assert "TMPDIR: /home/ann/tmp:" in block.as_text(sections)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "file").write_bytes(b"12345")
    assert caches.problems([caches.cache("HF_HUB_CACHE", tmp_path)]) == []
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    checked = caches.cache("HF_HUB_CACHE", tmp_path)
    assert checked.bytes == 5
    fix = "set HF_HUB_CACHE to a folder that can be written"
    assert caches.problems([checked]) == [f"HF_HUB_CACHE ({tmp_path}) cannot be written (Permission denied); {fix}"]


def test_a_cache_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (problem,) = caches.problems([caches.cache("HF_HOME", tmp_path / "file" / "hub")])
    assert "Not a directory" in problem


def test_a_cache_that_is_not_there_yet_is_not_created(tmp_path: Path) -> None:
    checked = caches.cache("HF_HOME", tmp_path / "a" / "b")
    assert (checked.bytes, checked.problem) == (None, "")
    assert not list(tmp_path.iterdir())


def test_counting_a_large_cache_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(10))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert caches.cache("HF_HOME", tmp_path).is_complete
    monkeypatch.setattr(caches, "_MAX_SECONDS", -1)
    checked = caches.cache("HF_HOME", tmp_path)
    assert not checked.is_complete
    assert checked.bytes is not None
    assert checked.bytes < 30


def test_missing_and_old_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "adapter_tune-0.1.0.dist-info"
    folder.mkdir()
    requires = ["torch>=99", "nowhere>=1", "other>=1; extra == 'lora'", "peft>=98; extra == 'lora'"]
    requires += ["ruff>=97; extra == 'dev'", "rich>=96; python_version < '3'"]
    lines = [
        "Metadata-Version: 2.4",
        "Name: adapter-tune",
        "Version: 0.1.0",
        "Provides-Extra: lora",
        "Provides-Extra: dev",
    ]
    lines += [f"Requires-Dist: {text}" for text in requires]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert packages.problems() == [
        f"torch {metadata.version('torch')} does not fit; run: pip install 'torch>=99'",
        "nowhere is missing; run: pip install 'nowhere>=1'",
        f"peft {metadata.version('peft')} does not fit; run: pip install 'peft>=98'",
    ]
    assert packages.versions().keys() == {"adapter-tune", "python", "torch", "nowhere", "peft"}
    assert packages.versions()["nowhere"] == "missing"


def test_this_installation_is_complete() -> None:
    assert packages.problems() == []


def test_a_package_that_is_not_installed_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    monkeypatch.setattr("importlib.metadata.version", missing)
    assert "adapter-tune is not installed" in packages.problems()[0]
    assert packages.versions().keys() == {"adapter-tune", "python"}


@pytest.mark.parametrize(("kinds", "count"), [(["libgomp", "libgomp"], 0), (["libgomp", "libiomp"], 1), ([], 0)])
def test_openmp_runtimes(kinds: list[str], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = [{"user_api": "openmp", "prefix": kind, "filepath": f"/{number}"} for number, kind in enumerate(kinds)]
    blas = {"user_api": "blas", "prefix": "libopenblas", "filepath": "/b"}
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [*loaded, blas])
    problems = machine.openmp_problems()
    assert len(problems) == count
    assert all("libgomp (/0) and libiomp (/1)" in problem for problem in problems)


@pytest.mark.parametrize(
    ("cuda", "visible", "part"),
    [
        (None, None, "is a build without CUDA; install one with it"),
        ("12.8", "", "CUDA_VISIBLE_DEVICES hides it"),
        ("12.8", None, "its build is for CUDA 12.8; update the NVIDIA driver"),
    ],
)
def test_a_gpu_that_torch_does_not_see(
    cuda: str | None, visible: str | None, part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100, 570.1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (problem,) = machine.gpu_problems()
    assert problem.startswith("this machine has NVIDIA H100 (driver 570.1), and PyTorch does not see it")
    assert part in problem
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.gpu_problems() == []


def test_no_gpu_or_a_broken_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(9, "nvidia-smi")

    monkeypatch.setattr("shutil.which", lambda name: None)
    assert machine.nvidia_gpus() == []
    monkeypatch.setattr("shutil.which", lambda name: "/bin/nvidia-smi")
    monkeypatch.setattr("subprocess.run", broken)
    assert machine.nvidia_gpus() == []


def test_the_name_of_the_processor(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: A CPU: fast\n")
    assert machine.processor(tmp_path / "cpuinfo") == "A CPU: fast"
    assert machine.processor(tmp_path / "nothing")


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.hub_state() == "offline (HF_HUB_OFFLINE is set)"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub_errors, "getproxies", lambda: {"https": "http://proxy"})
    assert hub.hub_state() == "through a proxy (not tried)"
    monkeypatch.setattr(hub_errors, "getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("HF_ENDPOINT", "https://me:pass@mirror.example:8443")
    assert hub.hub_state() == "mirror.example not reachable (Connection refused); runs use the cache only"


def test_offline_is_what_the_library_takes_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "uses_proxy", lambda: False)
    monkeypatch.setattr(hub, "_connect", lambda host, port: "tried")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert hub.hub_state() == "tried"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    assert hub.hub_state() == "offline (TRANSFORMERS_OFFLINE is set)"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"NO_PROXY": "localhost"}, False),
        ({"HTTPS_PROXY": "http://proxy"}, True),
        ({"ALL_PROXY": "http://proxy", "NO_PROXY": "localhost"}, True),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "mirror.example"}, False),
    ],
)
def test_a_proxy(variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert hub_errors.uses_proxy() is expected


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "uses_proxy", lambda: False)
    monkeypatch.setattr(hub, "_SECONDS", 0.05)
    monkeypatch.setattr(hub, "_connect", lambda host, port: time.sleep(0.5))
    assert "not reachable within 0.05 s" in hub.hub_state()


def test_a_section_that_fails_is_one_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ImportError("libcudart.so: no such file")

    for name in ("compute", "openmp_problems", "gpu_problems", "machine"):
        monkeypatch.setattr(machine, name, broken)
    monkeypatch.setattr(packages, "versions", broken)
    monkeypatch.setattr(caches, "caches", broken)
    monkeypatch.setattr(hub, "hub_state", broken)
    main(["env"])
    out = capsys.readouterr().out
    assert "problem: compute cannot be read: ImportError: libcudart.so: no such file" in out
    assert "hub: unknown" in out
    assert "problem: GPU cannot be read" in out


def test_a_broken_installation_is_reported_too() -> None:
    code = (
        "import sys\n"
        "names = ('torch', 'datasets', 'packaging', 'psutil', 'sklearn', 'numpy')\n"
        "sys.modules.update(dict.fromkeys(names))\n"
        "from adapter_tune.cli import main; main(['env'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "problem: compute cannot be read: ModuleNotFoundError: import of torch halted" in done.stdout
    assert "problem: packages cannot be read" in done.stdout
    assert "caches\n" in done.stdout
