"""Live sources: a thread captures, the newest frame wins, what is lost is opened again; see `LiveStream`."""

from .options import LiveOptions
from .stats import LiveStats
from .stream import LiveStream

__all__ = ["LiveOptions", "LiveStats", "LiveStream"]
