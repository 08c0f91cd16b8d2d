"""The image encoder of a backend, for one caller at a time."""

from threading import Lock

from torch import Tensor

from samkit.backends import Backend, renew_in_children
from samkit.models import ImageFeatures


class SharedEncoder:
    """Encodes images on a backend, which serves one caller of its encoder at a time.

    Its lock is not that of the decoder: clicks need not wait for the encoding of another image.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._lock = Lock()
        renew_in_children(self)

    def renew(self) -> None:
        """Renew the lock in a forked process."""
        self._lock = Lock()

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalised pixels (1, 3, S, S)."""
        with self._lock:
            return self.backend.encode(pixels)

    def encode_levels(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalised pixels, with the encoder's intermediate levels, finest first."""
        with self._lock:
            return self.backend.encode_levels(pixels)
