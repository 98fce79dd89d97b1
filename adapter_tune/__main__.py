"""``python -m adapter_tune`` is ``adapter-tune``."""

from adapter_tune.cli import main

main()
