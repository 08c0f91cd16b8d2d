"""One image on a server, segmented step by step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from samkit.serving.errors import ServerError
from samkit.serving.remote_answers import EmbeddedImage, PromptAnswer, error_from, size_of
from samkit.serving.wire import masks_from_fields

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection


class RemoteSession:
    """One image that is segmented by clicks and boxes on a server; see `samkit.ImageSession`."""

    def __init__(self, socket: ClientConnection, *, timeout_s: float) -> None:
        self._socket, self._timeout_s = socket, timeout_s
        begun = self._receive()
        self.image = EmbeddedImage(sha256=begun["image"], size_hw=size_of(begun))

    def click(self, x: float, y: float, label: int = 1) -> PromptAnswer:
        """Add a point in pixels of the image: label 1 to include it, 0 to exclude it."""
        return self._ask(type="click", x=x, y=y, label=label)

    def box(self, x0: float, y0: float, x1: float, y1: float) -> PromptAnswer:
        """Put a box around the object, replacing an earlier one."""
        return self._ask(type="box", box=[x0, y0, x1, y1])

    def choose(self, candidate: int) -> PromptAnswer:
        """Choose a candidate of the last answer other than the best."""
        return self._ask(type="choose", candidate=candidate)

    def undo(self) -> PromptAnswer:
        """Undo the last step; the answer before it, which is empty at the beginning."""
        return self._ask(type="undo")

    def redo(self) -> PromptAnswer:
        """Redo the step undone last."""
        return self._ask(type="redo")

    def reset(self) -> PromptAnswer:
        """Start a new mask on the same image."""
        return self._ask(type="reset")

    def _ask(self, **message: Any) -> PromptAnswer:
        self._socket.send(json.dumps(message))
        candidates = masks_from_fields(self._receive()["masks"], self.image.size_hw)
        return PromptAnswer(candidates=candidates, iou_pred=candidates.scores)

    def _receive(self) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        try:
            message: dict[str, Any] = json.loads(self._socket.recv(timeout=self._timeout_s))
        except (ConnectionClosed, TimeoutError) as error:
            raise ServerError(f"the session has ended: {error}") from error
        if message["type"] == "problem":
            raise error_from(message)
        return message
