#!/usr/bin/env bash
# Installs a wheel into an empty environment and uses it from an empty folder: its files, its commands, a training run.
#   scripts/check_package.sh WHEEL [SITE_PACKAGES]
# With SITE_PACKAGES, a folder of installed packages, the dependencies are those there and nothing is downloaded.
set -euo pipefail
wheel=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv environment
if [ $# -gt 1 ]; then
    echo "$2" > "$(environment/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dependencies.pth"
    environment/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall "$wheel"
else
    environment/bin/python -m pip install --quiet --disable-pip-version-check "$wheel"
fi
environment/bin/python - <<'END'
from importlib import resources
from pathlib import Path
import sys

import adapter_tune

root = Path(str(resources.files("adapter_tune")))
assert root.is_relative_to(sys.prefix), f"{root} is not in the new environment"
needed = ["py.typed", "testing.py", "configs/default.yaml", "configs/demo.yaml", "configs/glue/mnli.yaml",
          "configs/schema/run.json", "configs/schema/sweep.json",
          "demo/backbone/config.json", "demo/backbone/model.safetensors", "demo/backbone/tokenizer.json",
          "report/page.html.j2", "serving/page.html"]
missing = [name for name in needed if not (root / name).is_file()]
assert not missing, f"not in the wheel: {missing}"
print(f"adapter_tune {adapter_tune.__version__}: {sum(path.is_file() and path.suffix != '.pyc' for path in root.rglob('*'))} files")
END
mkdir elsewhere
cd elsewhere
export HF_HUB_OFFLINE=1 HF_HOME="$folder/cache"
command=../environment/bin/adapter-tune
"$command" --version
"$command" list > list.txt
head -n 3 list.txt
"$command" config show default > default.yaml
"$command" config validate default.yaml
"$command" config cp paper/sweeps/sizes-small sweep.yaml
"$command" train --task rte --m 8 --demo --epochs 1 --set data.max_train_samples=64
"$command" eval --demo
"$command" report runs
{ echo text,label; for n in $(seq 20); do echo "the dog runs $n,yes"; echo "no cat sleeps $n,no"; done; } > rows.csv
"$command" init rows.csv --yes --demo
"$command" train task.yaml --epochs 1
"$command" eval
"$command" predict --split validation --output predictions.csv
