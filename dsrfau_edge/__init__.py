"""Facial action-unit intensity on the device: see `Predictor`."""

from __future__ import annotations

from importlib import import_module as _import_module
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A plain `pip install .` or `python -c` run from a checkout finds this folder before the installed package, and with it
# misses train/, export/ and runtimes/, which stand beside it in the repository and below it once installed.
_here = _Path(__file__).resolve().parent
if (_here.parent / "setup.py").is_file() and not (_here / "train").is_dir():
    __path__.append(str(_here.parent))

if TYPE_CHECKING:
    from .following import StreamOptions
    from .live import LiveOptions
    from .predictor import Predictor
    from .results import Face, FrameResult
    from .signals.baseline import Baseline
    from .signals.one_euro import OneEuro

#: The public names and where they are, loaded on first use, so that `import dsrfau_edge` stays instant.
_PLACES = {
    "Baseline": "signals.baseline",
    "Face": "results",
    "FrameResult": "results",
    "LiveOptions": "live",
    "OneEuro": "signals.one_euro",
    "Predictor": "predictor",
    "StreamOptions": "following",
}

__all__ = ["Baseline", "Face", "FrameResult", "LiveOptions", "OneEuro", "Predictor", "StreamOptions", "__version__"]


def __getattr__(name: str) -> Any:
    """A public name that is not loaded yet."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(f".{_PLACES[name]}", __name__), name)
