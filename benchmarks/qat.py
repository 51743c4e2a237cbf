"""What int8 costs a checkpoint before and after `dsrfau-train qat`, on every target, on persons held out.

Each checkpoint is quantized by the exporter's own functions on the crops that it carries, and run beside its float
graph on the same held-out crops. The drop of mean ICC(3,1) is a paired difference; its 95 % interval is over resampled
persons. See README.md beside it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
TARGETS = ("onnx", "openvino", "tensorrt")
RESAMPLES = 1000


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure, print the table, and write the report if asked to."""
    options = _arguments(arguments)
    report = measure(options.checkpoints, options.data, options.target or list(TARGETS), options.limit)
    report["command"] = " ".join(["python benchmarks/qat.py", *sys.argv[1:]])
    print(table(report["rows"]))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def measure(checkpoints: Sequence[Path], folders: Sequence[Path], targets: Sequence[str], limit: int) -> dict[str, Any]:
    """A row per checkpoint and target; the held-out persons are those of the first checkpoint's recipe."""
    from dsrfau_edge.metrics import sites_to_aus
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.evaluation.bootstrap import resample
    from dsrfau_edge.train.quantization.run import own_recipe

    data = load_prepared(folders)
    index = data.index
    held_out = data.split("held-out", **own_recipe(checkpoints[0], []).data.split_options())
    chosen = np.sort(np.random.default_rng(0).permutation(held_out)[:limit])
    crops = np.stack([data.frame(int(position))[0] for position in chosen])
    labels = sites_to_aus(data.intensities[chosen], index.sites, index.aus)
    resampling = resample(data.identities[chosen], count=RESAMPLES)
    rows = []
    for checkpoint in checkpoints:
        for target, predictions in predicted(checkpoint, targets, crops):
            aus = sites_to_aus(predictions, index.sites, index.aus)
            if target == "float":
                exact = aus
            rows.append({"checkpoint": str(checkpoint), "target": target, **cost(labels, exact, aus, resampling)})
            _say(table(rows[-1:]).splitlines()[-1])
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores",
        "crops": len(chosen),
        "identities": resampling.identities,
        "rows": rows,
    }


def cost(labels: Floats, exact: Floats, rounded: Floats, resampling: Any) -> dict[str, Any]:
    """Mean ICC of both, the drop with its interval, and how far an intensity moves, from `[n, A]` each."""
    from dsrfau_edge.train.evaluation.bootstrap import measure as measured

    found = [measured(labels, values, resampling, ("icc",)) for values in (exact, rounded)]
    of_float, of_int8 = (float(np.nanmean(one.point["icc"])) for one in found)
    drawn = np.nanmean(found[0].replicates["icc"], 1) - np.nanmean(found[1].replicates["icc"], 1)
    difference = np.abs(rounded - exact)
    return {
        "icc_float": of_float,
        "icc": of_int8,
        "drop": of_float - of_int8,
        "interval": [float(value) for value in np.quantile(drawn, (0.025, 0.975))] if len(drawn) else None,
        "mean_difference": float(difference.mean()),
        "largest_difference": float(difference.max()),
    }


def predicted(checkpoint: Path, targets: Sequence[str], crops: Any) -> Iterable[tuple[str, Floats]]:
    """Site intensities `[n, S]` of the float graph, then of each target's int8."""
    from dsrfau_edge.export import graph, onnx
    from dsrfau_edge.export.calibration import load_calibration
    from dsrfau_edge.export.source import load_source

    source = load_source(checkpoint)
    calibration = load_calibration(source)
    if calibration is None:
        raise SystemExit(f"{checkpoint} carries no crops to calibrate on.")
    parsed = graph.parse_graph(
        source.graph,
        size=source.input_size,
        sites=len(source.sites),
        heatmap_size=int(source.heatmap["size"]),
        where=str(checkpoint),
    )
    model = graph.with_batch(parsed, 1)
    yield "float", _through(_onnxruntime(model), crops)
    for target in targets:
        if target == "openvino":
            run = _openvino(model, calibration.crops)
        else:
            scheme = onnx.CPU_SCHEME if target == "onnx" else onnx.GPU_SCHEME
            run = _onnxruntime(onnx.to_int8(model, calibration.crops, scheme, "minmax"))
        yield target, _through(run, crops)


def _through(run: Callable[[Any], Floats], crops: Any) -> Floats:
    return np.concatenate([run(crops[number : number + 1]) for number in range(len(crops))])


def _onnxruntime(model: Any) -> Callable[[Any], Floats]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda crop: np.asarray(session.run(["intensities"], {"crops": crop})[0])


def _openvino(model: Any, calibration: Any) -> Callable[[Any], Floats]:
    import onnx
    import openvino

    from dsrfau_edge.export.targets import openvino as exporter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save_model(model, path)
        quantized = exporter.to_int8(exporter.read_model(path), calibration, "minmax")
    compiled = openvino.Core().compile_model(
        quantized, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda crop: np.array(compiled(crop)["intensities"])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| checkpoint | int8 of | mean ICC | drop against its float | mean ΔAU | largest |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        interval = row["interval"]
        drop = f"{row['drop']:+.4f}" + (f" ({interval[0]:+.4f} to {interval[1]:+.4f})" if interval else "")
        told = (drop, f"{row['mean_difference']:.4f}", f"{row['largest_difference']:.2f}")
        if row["target"] == "float":
            told = ("", "", "")
        lines.append(f"| {row['checkpoint']} | {row['target']} | {row['icc']:.4f} | {' | '.join(told)} |")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def _arguments(arguments: Iterable[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="checkpoint folders, such as before and after")
    parser.add_argument("--data", type=Path, action="append", required=True, help="prepared data with labels")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only these; default all")
    parser.add_argument("--limit", type=_count, default=2000, help="held-out crops; default 2000")
    parser.add_argument("--json", type=Path, help="write the report here")
    return parser.parse_args(None if arguments is None else list(arguments))


if __name__ == "__main__":
    main()
