"""`lesionloss networks`: the networks, and the memory and operations of one for an input."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import hint, note, plain_console, say

if TYPE_CHECKING:
    from lesionloss.networks.cost import NetworkCost

EXAMPLES = """
lesionloss networks
lesionloss networks longitudinal_vnet --input 4x3x80x80x80
lesionloss networks vnet --data DATA/msseg2   # with the inputs and outputs that the data need
lesionloss networks "my_package.nets:UNet(features=32)"   # a class of your own: the module is imported
lesionloss networks "unet3d(inputs=2, filters=16)" --input 1x2x32x32x32
lesionloss networks "monai:UNet(spatial_dims=3, channels=(16, 32, 64), strides=(2, 2))"
lesionloss networks longitudinal_vnet --weights vnet_best_model.pth --layout coactseg
"""


@command(panel=panels.LOSSES, examples=EXAMPLES)
def networks(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show one network, written as in a plan.")] = None,
    shape: Annotated[
        str | None,
        typer.Option("--input", metavar="BxCxXxYxZ", help="Images, channels and sides of the input to count for."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A .pth or .safetensors file: show which of its tensors fit the network.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Names of tensors in the file: same, coactseg, coactseg_single or resnet34.")
    ] = "same",
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="PATH", help="Count for the channels and classes of a folder, or LAYOUT:PATH."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """List the networks with their parameters, memory and multiply-adds, or show one of them.

    Memory is what a training step in float32 keeps for its backward pass, without weights and optimiser.
    """
    from lesionloss.core.errors import UsageError
    from lesionloss.networks import NETWORKS
    from lesionloss.networks.cost import network_cost, parse_shape

    if weights is not None:
        if not name:
            raise UsageError(
                "--weights needs the network that the file is for: lesionloss networks NAME --weights FILE"
            )
        _print_transfer(name, weights, layout, as_json)
        return
    wanted = parse_shape(shape) if shape else None
    names = [name] if name else NETWORKS.names()
    if data is not None:
        names = _for_data(names, data)
    found = []
    for each in names:
        try:
            fits = name or (wanted and len(wanted) == _axes(each) + 2)
            found.append(network_cost(each, wanted if fits else None))
        except UsageError as error:
            if name:
                raise
            note(str(error))  # one of the user's own, which may need values
    if as_json:
        _print_json(found)
    elif name:
        _print_card(found[0])
    else:
        _print_table(found)


def _for_data(names: list[str], data: str) -> list[str]:
    """The networks with the channels of the data, without those for more axes."""
    from lesionloss.bench.data_check import first_case
    from lesionloss.bench.plan import Plan
    from lesionloss.bench.plan.sections import DataSection
    from lesionloss.cli.plan_options import data_keys
    from lesionloss.networks import network_axes, with_channels

    section = DataSection.model_validate(data_keys(data))
    plan = Plan(name="networks", losses=("dice",), baseline_loss="dice", folds=2, seeds=(1,), data=section)
    _, channels, classes, axes = first_case(plan)
    note(
        f"{len(channels)} channels ({', '.join(channels)}), {len(classes)} classes ({', '.join(classes)}), {axes} axes"
    )
    return [with_channels(name, channels, classes) for name in names if len(names) == 1 or network_axes(name) <= axes]


def _axes(name: str) -> int:
    from lesionloss.networks import network_axes

    return network_axes(name)


def _print_transfer(name: str, weights: Path, layout: str, as_json: bool) -> None:
    import json

    from rich.table import Table

    from lesionloss.core.randomness import torch_generator
    from lesionloss.networks import build_network
    from lesionloss.networks.pretrained_weights import load_weights, name_map

    report = load_weights(build_network(name, torch_generator("weights")), weights, name_map(layout))
    if as_json:
        say(json.dumps(report.table(), indent=2, ensure_ascii=False))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("what", "file", "network", "shape", "remark"):
        table.add_column(heading, overflow="fold")
    for row in report.table():
        table.add_row(*row.values())
    plain_console().print(table, markup=False)
    say(f"\n{report.summary()}")


def _print_json(found: list["NetworkCost"]) -> None:
    import json
    from dataclasses import asdict

    say(json.dumps([asdict(summary) for summary in found], indent=2))


def _print_table(found: list["NetworkCost"]) -> None:
    from rich.table import Table

    from lesionloss.networks import read_network

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("network", no_wrap=True, style="bold")
    table.add_column("what it is")
    for heading in ("parameters", "input", "memory", "multiply-adds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for summary in found:
        title = read_network(summary.text)[0].title
        counts = (
            f"{summary.parameters:,}",
            _by(summary.input),
            _bytes(summary.activations),
            _count(summary.multiply_adds),
        )
        table.add_row(summary.text, title, *counts)
    plain_console().print(table)
    hint('\nOne of them: lesionloss networks NAME. Any network of MONAI: "monai:UNet(spatial_dims=3, ...)".')


def _print_card(summary: "NetworkCost") -> None:
    from rich.table import Table

    from lesionloss.networks import read_network

    design, values = read_network(summary.text)
    card = Table.grid(padding=(0, 2, 0, 0))
    card.add_column(no_wrap=True, style="bold")
    card.add_column(overflow="fold")
    settings = {key: value for key, value in (design.defaults | values).items() if isinstance(key, str)}
    card.add_row("settings", ", ".join(f"{key}={_setting(value)}" for key, value in settings.items()))
    card.add_row("input", f"{_by(summary.input)}; sides in multiples of {summary.multiple}")
    for output, shape in summary.outputs:
        card.add_row(output, _by(shape))
    card.add_row("parameters", f"{summary.parameters:,}")
    card.add_row("memory", f"{_bytes(summary.activations)} kept by a training step in float32, beside the weights")
    card.add_row("multiply-adds", f"{_count(summary.multiply_adds)} in a forward pass")
    for part in summary.parts:
        if part.parameters:
            card.add_row(f"  {part.name}", f"{part.parameters:,} parameters, {_count(part.multiply_adds)}")
    card.add_row("source", design.source)
    console = plain_console()
    console.print(summary.text, style="bold", markup=False)
    console.print(design.title, markup=False)
    console.print()
    console.print(card, markup=False)


def _setting(value: object) -> str:
    import inspect

    return "?" if value is inspect.Parameter.empty else repr(value)


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _bytes(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _count(number: int) -> str:
    return f"{number / 1e9:,.2f} G" if number >= 1e9 else f"{number / 1e6:,.1f} M"
