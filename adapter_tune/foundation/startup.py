"""Settings that must be made before the heavy libraries are imported."""

from __future__ import annotations

import os


def prepare_libraries(demo: bool = False) -> None:
    """Check whether the Hub can be reached, and quiet the libraries; call it before the first heavy import."""
    import warnings

    from adapter_tune.foundation.hub_errors import offline_if_unreachable

    if demo:  # the demo needs nothing from the Hub
        os.environ["HF_HUB_OFFLINE"] = "1"
    offline_if_unreachable()
    warnings.filterwarnings("ignore", category=FutureWarning)
    from adapter_tune.foundation.console import console, limit_library_output

    limit_library_output(quiet=not console.is_terminal)
