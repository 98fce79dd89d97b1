"""Settings that must be made before the heavy libraries are imported."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout


def prepare_libraries(demo: bool = False) -> None:
    """Check whether the Hub can be reached, and quiet the libraries; call it before the first heavy import."""
    import warnings

    from adapter_tune.foundation.hub_errors import offline_if_unreachable

    if demo:  # the demo needs nothing from the Hub
        os.environ["HF_HUB_OFFLINE"] = "1"
    offline_if_unreachable()
    # Where it is installed, transformers imports comet_ml, which would copy what other loggers write.
    os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    if os.environ.get("WANDB_MODE") == "offline":  # transformers prints that on standard output, where results go
        with redirect_stdout(sys.stderr):
            import transformers.integrations.integration_utils  # noqa: F401
    from adapter_tune.foundation.console import console, limit_library_output

    limit_library_output(quiet=not console.is_terminal)
