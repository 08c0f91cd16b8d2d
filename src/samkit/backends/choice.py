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
    """How a model is to run; `create_backend` says what each value means.

        Predictor.load("mobile_sam", **BackendChoice(backend="openvino").options())

    Attributes:
        device: None for a GPU where there is one.
        threads: on a CPU; None for the backend's own choice.
    """

    device: str | None = None
    backend: str = "auto"
    precision: str = "auto"
    threads: int | None = None

    def options(self) -> BackendOptions:
        """The choice as keyword arguments."""
        return BackendOptions(
            device=self.device,
            backend=self.backend,
            precision=self.precision,
            threads=self.threads,
        )
