"""The options of `lesionloss bench` that choose where and how many trials are executed."""

from typing import TYPE_CHECKING

from lesionloss.core.errors import UsageError

if TYPE_CHECKING:
    from lesionloss.bench.engines import TrialEngine

ENGINES = ("local", "ray", "slurm")


def number_or_auto(option: str, text: str) -> int | None:
    """Read `auto` (None) or a number from 1.

    Args:
        option: Its name, for the message.
        text: What the user gave.

    Raises:
        UsageError: The text is anything else.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} must be auto or a number from 1, got {text!r}")
    return int(text)


def chosen_engine(
    name: str,
    jobs: int | None,
    device: str,
    address: str | None,
    gpus: float,
    workers: int,
    slurm: list[str],
    together: int | None,
) -> "TrialEngine":
    """Return the engine that the options name.

    Raises:
        UsageError: The engine is unknown, or an option belongs to another one.
    """
    if name not in ENGINES:
        raise UsageError(f"--engine must be one of {', '.join(ENGINES)}, got {name!r}")
    if name != "ray" and (address is not None or gpus):
        raise UsageError("--address and --gpus-per-trial belong to --engine ray")
    if name != "slurm" and slurm:
        raise UsageError("--slurm belongs to --engine slurm")
    if name == "ray":
        from lesionloss.bench.engines.ray import RayEngine

        return RayEngine(address, gpus, together)
    if name == "slurm":
        from lesionloss.bench.engines.slurm import SlurmEngine, parse_setting

        return SlurmEngine(workers, tuple(map(parse_setting, slurm)), jobs, together)
    from lesionloss.bench.engines.local import LocalEngine
    from lesionloss.core.devices import all_devices

    return LocalEngine(jobs, all_devices() if device == "auto" else (), together)
