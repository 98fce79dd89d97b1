"""``adapter-tune env``."""

from __future__ import annotations

from adapter_tune.commands.options import general


def env(as_json: general.Json = False) -> None:
    """Print what a bug report needs: versions, machine, caches, and problems of this installation.

    Secrets are left out: of a variable such as HF_TOKEN only the name is printed.
    """
    import json
    import warnings

    warnings.filterwarnings("ignore")
    from adapter_tune.environment.block import as_text, environment

    sections = environment()
    print(json.dumps(sections, indent=2) if as_json else as_text(sections))
