"""Packages that `pip install lesionloss` leaves out, and the extra that brings each."""

from importlib.util import find_spec

from lesionloss.core.errors import UsageError

# The names under which the packages of pyproject.toml's extras are imported.
PACKAGES = {
    "metrics": ("scipy", "edt", "nibabel", "pandas", "monai"),
    "bench": ("SimpleITK", "pydantic", "matplotlib", "jinja2", "nilearn", "PIL", "safetensors", "tomli_w"),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "torchmetrics": ("torchmetrics",),
    "nnunet": ("nnunetv2",),
}
_INCLUDED = {"metrics": ("metrics",), "bench": ("metrics", "bench"), "nnunet": ("metrics", "bench", "nnunet")}


class MissingExtraError(UsageError, ImportError):
    """A package is not installed that an extra brings."""


def require(extra: str, what: str) -> None:
    """Check that the packages of an extra can be imported, without importing them.

    Args:
        extra: One of PACKAGES.
        what: What needs them, for the message: the name of a function or class.

    Raises:
        MissingExtraError: A package is not installed.
    """
    for package in (package for part in _INCLUDED.get(extra, (extra,)) for package in PACKAGES[part]):
        if find_spec(package) is None:
            raise MissingExtraError(_text(what, package, extra))


def missing_extra(error: ModuleNotFoundError, what: str, extra: str = "bench") -> MissingExtraError | None:
    """Turn a failed import into one line with the command that mends it.

    Args:
        error: The failed import.
        what: What needed the package, for the message: a command, function or class.
        extra: The extra to propose, if it contains the package; else that of the package alone.

    Returns:
        The error to raise instead, or None if no extra contains the module.
    """
    package = (error.name or "").partition(".")[0]
    found = next((name for name, packages in PACKAGES.items() if package in packages), None)
    if found is None:
        return None
    return MissingExtraError(_text(what, package, extra if found in _INCLUDED[extra] else found))


def _text(what: str, package: str, extra: str) -> str:
    return f'{what} needs {package}, which is not installed: pip install "lesionloss[{extra}]"'
