"""`dsrfau-train summary`: what a recipe's teacher and student cost, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.errors import UsageError

from .common import recipe_options, require_training

if TYPE_CHECKING:
    from dsrfau_edge.train.networks.heatmap import NetworkConfig

_ROLES = ("teacher", "student")
_PRECISIONS = {"fp32": 4, "int8": 1}
_CONVENTIONS = (
    "MACs: convolutions (kernel × output positions) and deconvolutions (kernel × input positions).",
    "Activations: tensors of one crop in the exported graph, norms folded, elementwise operators in place; peak is\n"
    "what is alive at once. Heatmaps are float32 in both; weights and a runtime's scratch memory do not count.",
)


@click.command()
@recipe_options
@click.option(
    "--sites", default=len(sites_of()), show_default=True, type=click.IntRange(min=1), help="Number of heatmaps."
)
@click.option("--size", default=128, show_default=True, type=click.IntRange(min=32), help="Side of the input.")
@click.option("--latency/--no-latency", default=True, show_default=True, help="Measure the time of one crop here.")
@click.option("--runs", default=30, show_default=True, type=click.IntRange(min=1), help="Timed runs of a network.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def summary(
    *,
    recipe: str,
    settings: tuple[str, ...],
    seed: int,
    sites: int,
    size: int,
    latency: bool,
    runs: int,
    as_json: bool,
) -> None:
    """Weights, operations, activation memory and time of a recipe's teacher and student, side by side."""
    require_training()
    import torch

    from dsrfau_edge.train.recipes import load_recipe

    if size % 32:
        raise UsageError(f"--size is {size}: the networks take multiples of 32.")
    chosen = load_recipe(recipe, settings)
    torch.manual_seed(seed)
    costs = {role: _costs(chosen.role(role).network, sites, size, runs if latency else 0) for role in _ROLES}
    ratios = {name: costs["teacher"][name] / costs["student"][name] for name in _numbers(costs["student"])}
    if as_json:
        head = {"recipe": chosen.name, "input_size": size, "sites": sites}
        click.echo(
            json.dumps({**head, **costs, "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()}}, indent=1)
        )
        return
    click.echo(f"Recipe {chosen.name!r}, one crop of {size}×{size}, {sites} heatmaps\n")
    for cells in _rows(costs, ratios):
        click.echo("{:24}{:>30}{:>30}{:>20}".format(*cells).rstrip())
    click.echo()
    for convention in _CONVENTIONS:
        click.echo(convention)
    if latency:
        click.echo(f"Time: median of {runs} runs, {costs['student']['latency']['runtime']}, 1 thread, random weights.")


def _costs(config: NetworkConfig, sites: int, size: int, runs: int) -> dict[str, Any]:
    """Everything about one network, with random weights; not timed where `runs` is 0."""
    from dsrfau_edge.train.costs import activation_memory, count_macs, count_parameters, cpu_latency
    from dsrfau_edge.train.graph import export_graph
    from dsrfau_edge.train.networks.heatmap import HeatmapNetwork

    network = HeatmapNetwork(config, sites, pretrained=False)
    graph = export_graph(network, input_size=size, metadata={})
    costs: dict[str, Any] = {
        **config.to_dict(),
        "parameters": count_parameters(network),
        "macs": count_macs(network, size),
    }
    for precision, value_bytes in _PRECISIONS.items():
        memory = activation_memory(graph, value_bytes=value_bytes)
        costs |= {f"activations_peak_{precision}": memory.peak, f"activations_total_{precision}": memory.total}
    if runs:
        timed = cpu_latency(graph.SerializeToString(), size, runs=runs)
        costs |= {"milliseconds": timed["milliseconds"], "latency": timed}
    return costs


def _numbers(costs: Mapping[str, Any]) -> list[str]:
    """Names of what a ratio can be told of."""
    return [name for name, value in costs.items() if isinstance(value, (int, float)) and not isinstance(value, bool)]


def _rows(costs: Mapping[str, Mapping[str, Any]], ratios: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    """Lines of the table, as text."""
    pair = [costs[role] for role in _ROLES]
    yield ("", *_ROLES, "teacher / student")
    yield ("backbone", *(one["backbone"] for one in pair), "")
    yield ("upsampler", *(_upsampler(one) for one in pair), "")
    for name, title, unit, divisor, digits in (
        ("parameters", "weights", "M", 1e6, 2),
        ("macs", "MACs", "M", 1e6, 1),
        ("activations_peak_fp32", "activations fp32, peak", "MB", 1e6, 2),
        ("activations_total_fp32", "activations fp32, total", "MB", 1e6, 2),
        ("activations_peak_int8", "activations int8, peak", "MB", 1e6, 2),
        ("activations_total_int8", "activations int8, total", "MB", 1e6, 2),
        ("milliseconds", "time", "ms", 1, 2),
    ):
        if name in ratios:
            yield (title, *(f"{one[name] / divisor:.{digits}f} {unit}" for one in pair), f"{ratios[name]:.2f}")


def _upsampler(costs: Mapping[str, Any]) -> str:
    widths = "/".join(map(str, costs["widths"]))
    return f"{costs['upsampler']} {widths}{' + skips' if costs['skips'] else ''}"
