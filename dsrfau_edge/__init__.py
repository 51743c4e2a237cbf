"""Facial action-unit intensity on the device: see `Predictor`."""

from __future__ import annotations

from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A plain `pip install .` or `python -c` run from a checkout finds this folder before the installed package, and with it
# misses train/, export/ and runtimes/, which stand beside it in the repository and below it once installed.
_here = _Path(__file__).resolve().parent
if (_here.parent / "setup.py").is_file() and not (_here / "train").is_dir():
    __path__.append(str(_here.parent))

if TYPE_CHECKING:
    from .predictor import Predictor
    from .results import Face

__all__ = ["Face", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the public names on first use, so that `import dsrfau_edge` stays instant."""
    if name == "Predictor":
        from .predictor import Predictor

        return Predictor
    if name == "Face":
        from .results import Face

        return Face
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
