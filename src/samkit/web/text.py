"""The server's text model, which finds what people name; loaded when it is first needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from samkit.errors import PromptError

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.text import TextModel


class TextSource:
    """A text model by its name or folder; None for none."""

    def __init__(self, source: str | None) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._model: TextModel | None = None

    def __bool__(self) -> bool:
        return self._source is not None

    def model(self) -> TextModel:
        """The model.

        Raises:
            PromptError: the server has none.
            WeightsError, DownloadError: it cannot be loaded.
        """
        if self._source is None:
            raise PromptError("this server has no text model: start it with --text-model")
        from samkit.text import load_text_model

        with self._lock:
            if self._model is None:
                self._model = load_text_model(self._source)
            return self._model
