"""The user's choice of a backend, as a value; imports nothing slow."""

from dataclasses import dataclass
from typing import TypedDict


class BackendOptions(TypedDict):
    """Keyword arguments of `samkit.Predictor.load` and `samkit.backends.create_backend`."""

    device: str | None
    backend: str
    precision: str
    threads: int | None


@dataclass(frozen=True, kw_only=True)
class BackendChoice:
    """The user's choice of a backend; `create_backend` documents the values.

        Predictor.load("mobile_sam", **BackendChoice(backend="openvino").options())

    Attributes:
        device: torch device; None for a GPU if there is one.
        threads: CPU threads; None for the backend's default.
    """

    device: str | None = None
    backend: str = "auto"
    precision: str = "auto"
    threads: int | None = None

    def options(self) -> BackendOptions:
        """Return the choice as keyword arguments."""
        return BackendOptions(
            device=self.device,
            backend=self.backend,
            precision=self.precision,
            threads=self.threads,
        )

    def arguments(self) -> tuple[str, ...]:
        """Return the choice as arguments of a command."""
        given = {name: value for name, value in vars(self).items() if value not in (None, "auto")}
        return tuple(part for name, value in given.items() for part in (f"--{name}", str(value)))
