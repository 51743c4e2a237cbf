"""torch, for checkpoints in development: the network as it was trained, without any export between.

It is a runtime like the others, but never chosen by itself: it needs the train extra, and it is slower than they are.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes.base import (
    Availability,
    Crops,
    Format,
    ModelFiles,
    Outputs,
    SessionInfo,
    SessionOptions,
    check_crops,
    first_line,
)

if TYPE_CHECKING:
    from .networks.heatmap import HeatmapNetwork

_NEEDED = ("torch", "safetensors")
_INSTALL = "Type `pip install 'dsrfau-edge[train]'`, or leave --runtime out: the checkpoint's graph runs without it."
_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")
_CLOSED = "The session is closed. Load the model again."


class TorchRuntime:
    """`--runtime torch`, devices `cpu`, `cuda[:N]` and `mps`."""

    name = "torch"
    formats: tuple[Format, ...] = ("checkpoint",)
    #: It takes a checkpoint's own network and not the portable ONNX graph.
    portable = False

    def availability(self, device: str | None = None) -> Availability:
        """Whether the packages are there. Only a device that is named is looked for, since that imports torch."""
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            reason = f"It needs packages that are not installed ({', '.join(missing)})."
            return Availability(ok=False, reason=reason, fix=_INSTALL)
        try:
            version = importlib.metadata.version("torch")
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if device in (None, "cpu"):
            return Availability(ok=True, version=version)
        reason = _why_no_device(str(device))
        fix = "Give another --device: cpu, cuda, cuda:N or mps."
        return Availability(ok=not reason, reason=reason, fix=fix if reason else "", version=version)

    def load(self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None) -> TorchSession:
        """Load a checkpoint's own network.

        Raises:
            UsageError: the model is not part of a checkpoint.
            DataError: the checkpoint is damaged.
            RuntimeUnavailable: torch or the device cannot be used here.
        """
        if model.checkpoint is None:
            raise UsageError(
                f"--runtime torch runs a checkpoint's network, and {model.name} is a bundle. Give its checkpoint, or "
                "leave --runtime out."
            )
        self.availability(device).require()
        try:
            from .checkpoint import load_network
        except Exception as error:  # a broken native library raises anything
            raise RuntimeUnavailable(f"--runtime torch cannot be used here: {first_line(error)}. {_INSTALL}") from error
        network, _ = load_network(model.checkpoint)
        try:
            network = network.to(device or "cpu")
        except (RuntimeError, AssertionError) as error:
            raise RuntimeUnavailable(
                f"torch cannot use the device {device!r}: {first_line(error)}. Give another --device, such as cpu."
            ) from error
        return TorchSession(network, model, options or SessionOptions())


class TorchSession:
    """A checkpoint's network behind the runtimes' protocol.

    Threads may share it. torch has one number of threads for the whole process: where `threads` is given, a session
    sets it for the time of a call and puts back what was there, so that calls of such sessions wait for each other.
    """

    def __init__(self, network: HeatmapNetwork, model: ModelFiles, options: SessionOptions) -> None:
        self._network: HeatmapNetwork | None = network
        self._model = model
        self._options = options
        self._device = next(network.parameters()).device

    @property
    def info(self) -> SessionInfo:
        """What it runs on and how many weighted sums the network has."""
        import torch
        from torch import nn

        network = self._network
        if network is None:
            raise RuntimeUnavailable(_CLOSED)
        kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
        count = sum(isinstance(module, kinds) for module in network.modules())
        return SessionInfo(
            runtime=TorchRuntime.name,
            version=str(torch.__version__),
            device=_named(self._device),
            precision="fp32",
            layers={"fp32": count},
            threads=self._options.threads,
        )

    def infer(self, crops: Crops) -> Outputs:
        import torch

        from .networks.heatmap import decode

        checked = check_crops(crops, self._model.input_size)
        network = self._network
        if network is None:
            raise RuntimeUnavailable(_CLOSED)
        # torch warns of arrays that it may not write to.
        shared = torch.from_numpy(checked if checked.flags.writeable else checked.copy())
        try:
            with torch.inference_mode(), _numerics(self._device, self._options):
                maps = network(shared.to(self._device)).heatmaps.float()
                intensities = np.asarray(decode(maps).cpu().numpy(), np.float32)
                heatmaps = np.asarray(maps.cpu().numpy(), np.float32) if self._options.heatmaps else None
        except RuntimeError as error:
            raise RuntimeUnavailable(
                f"torch could not run {len(checked)} crops through {self._model.name}: {first_line(error)}. Give fewer "
                "crops a call, or another --device."
            ) from error
        return Outputs(intensities, heatmaps)

    def close(self) -> None:
        self._network = None  # a call that is running keeps its own hold on it until it is done


_global = threading.RLock()


@contextlib.contextmanager
def _numerics(device: Any, options: SessionOptions) -> Iterator[None]:
    """Settings of torch for one call, which are the whole process's; put back afterwards."""
    import torch

    cuda = device.type == "cuda"
    if not cuda and options.threads is None:
        yield
        return
    with _global:
        threads = torch.get_num_threads()
        before = _Tf32.now()
        try:
            if options.threads is not None:
                torch.set_num_threads(options.threads)
            if cuda:
                _Tf32(options.native_precision, options.native_precision).set()
            yield
        finally:
            before.set()
            torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class _Tf32:
    """Whether convolutions and matrix products may round to TF32 on GPUs that have it."""

    convolutions: bool
    products: bool

    @classmethod
    def now(cls) -> _Tf32:
        import torch

        return cls(torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)

    def set(self) -> None:
        import torch

        torch.backends.cudnn.allow_tf32 = self.convolutions
        torch.backends.cuda.matmul.allow_tf32 = self.products


def _why_no_device(device: str) -> str:
    """Why torch cannot compute there; "" where it can."""
    if not _DEVICE.fullmatch(device):
        return f"torch cannot use the device {device!r}, which it does not know."
    try:
        import torch

        if device.startswith("cuda") and not torch.cuda.is_available():
            return f"torch cannot use the device {device!r}: it finds no NVIDIA GPU, or was built without CUDA."
        if device.startswith("cuda:") and int(device[5:]) >= torch.cuda.device_count():
            return f"torch cannot use the device {device!r}: it finds {torch.cuda.device_count()} GPU(s)."
        if device == "mps" and not torch.backends.mps.is_available():
            return "torch cannot use the device 'mps': there is no Apple GPU, or torch was built without it."
    except Exception as error:  # a broken native library raises anything
        return f"torch is installed but cannot be used: {first_line(error)}."
    return ""


def _named(device: Any) -> str:
    import torch

    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    return str(device)
