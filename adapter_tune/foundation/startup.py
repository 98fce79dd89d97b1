"""What must be settled before the heavy libraries are imported."""

from __future__ import annotations

import os


def prepare_libraries(demo: bool = False) -> None:
    """Before the first heavy import: decide whether the Hub is there, and silence what is below."""
    import warnings

    from adapter_tune.foundation.hub_errors import offline_if_unreachable

    if demo:  # nothing is asked of the Hub
        os.environ["HF_HUB_OFFLINE"] = "1"
    offline_if_unreachable()
    warnings.filterwarnings("ignore", category=FutureWarning)
    from adapter_tune.foundation.console import console, library_noise

    library_noise(quiet=not console.is_terminal)
