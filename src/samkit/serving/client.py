"""Client of a model server: the same questions as to a local predictor, and the same answers."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from samkit.errors import ImageError, SamkitError, VideoError
from samkit.extras import require_packages
from samkit.files import reason
from samkit.formats import ImageLike
from samkit.geometry import encode_rle
from samkit.predict import Refine
from samkit.serving.errors import BusyError, ServerError, UnknownImageError
from samkit.serving.remote_answers import (
    EmbeddedImage,
    PromptAnswer,
    error_from,
    image_bytes,
    plain,
    prompt_answer,
    size_of,
    video_answer,
    without_type,
)
from samkit.serving.remote_session import RemoteSession
from samkit.serving.wire import masks_from_fields, pack_array
from samkit.types import Masks
from samkit.video import VideoAnswer

if TYPE_CHECKING:
    import httpx2

DEFAULT_RETRIES = 10
HASHES_NOTED = 10_000
Result = TypeVar("Result")


ImageSource: TypeAlias = "ImageLike | bytes | EmbeddedImage"


class Client:
    """Asks a model server.

        with Client("http://127.0.0.1:8000", key) as client:
            answer = client.predict("image.jpg", points=[[500, 375]])
            answer.best().masks

    An image is sent once, and named by its hash afterwards; if the server has forgotten it, it is
    sent again. When the server is busy, the client waits as long as it says and tries again. Errors
    are those of a local predictor: a point outside the image is a `PromptError`. May be used by
    several threads.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 120.0,
        retries: int = DEFAULT_RETRIES,
        http: httpx2.Client | None = None,
    ) -> None:
        """Choose a server.

        Args:
            url: its address, such as "http://127.0.0.1:8000".
            key: API key; None for a server without keys.
            timeout_s: for an answer, and between two parts of a stream.
            retries: further attempts when the server is busy.
            http: an HTTP client with its own settings, such as of proxies or certificates.

        Raises:
            ConfigError: the packages for it are not installed.
        """
        require_packages("a client of a model server", ("httpx2", "websockets"), "serving")
        import httpx2

        self.url = url.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._retries = retries
        self._timeout_s = timeout_s
        self._http = http or httpx2.Client(timeout=timeout_s)
        self._sent: dict[str, None] = {}

    def __enter__(self) -> Client:  # noqa: PYI034 - Self is not in typing before Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def describe(self) -> dict[str, Any]:
        """The server's model and limits."""
        found: dict[str, Any] = self._retry(lambda: self._json("GET", "/v1/model"))
        return found

    def embed(self, image: ImageSource) -> EmbeddedImage:
        """Have an image embedded, so that prompts on it are answered at once.

        Args:
            image: path, bytes of a file, PIL image or array; see `samkit.read_image`.

        Raises:
            ImageError: the image cannot be read.
            ServerError: the server cannot be reached, or refuses.
        """
        answer = self._ask_image("/v1/embed", image, {})
        return EmbeddedImage(sha256=answer["image"], size_hw=size_of(answer))

    def predict(
        self,
        image: ImageSource,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        multimask: bool = True,
        refine: Refine = "none",
        fine: bool = False,
        logits: bool = False,
    ) -> PromptAnswer:
        """Answer one prompt, or a batch of P prompts with a leading axis; see `Predictor.predict`.

        Args:
            image: see `embed`, or its result.
            mask_logits: logits of an earlier answer, or a mask of booleans at the image's size.
            logits: whether the answer has its mask logits, too: a third of a megabyte a mask.

        Raises:
            PromptError: shapes are wrong, or a prompt lies outside the image.
            ImageError: the image cannot be read.
            ServerError: the server cannot be reached, or refuses.
        """
        settings: dict[str, Any] = {
            "points": plain(points),
            "labels": plain(labels),
            "boxes": plain(boxes),
            "multimask": multimask,
            "refine": refine,
            "fine": fine,
            "logits": logits,
        }
        if mask_logits is not None:
            given = np.asarray(mask_logits)
            if given.dtype == np.bool_:
                masks = given.reshape(-1, *given.shape[-2:])
                settings["masks"] = [encode_rle(mask) for mask in masks]
            else:
                settings["mask_logits"] = pack_array(given.astype(np.float32))
        return prompt_answer(self._ask_image("/v1/predict", image, settings))

    def find_text(
        self, image: ImageSource, text: str | Sequence[str], *, text_thresh: float | None = None
    ) -> PromptAnswer:
        """Find what words name; see `Predictor.predict_text`.

        Raises:
            NoTextModelError: the server has no text model.
        """
        phrases = [text] if isinstance(text, str) else list(text)
        settings = {"text": phrases, "text_thresh": text_thresh}
        return prompt_answer(self._ask_image("/v1/text", image, settings))

    def auto(self, image: ImageSource, *, preset: str | None = None, **settings: Any) -> Masks:
        """Find masks of everything; see `samkit.AutoMasker`.

        Args:
            image: the image itself, not its hash.
            preset: "instant", "fast", "paper" or "thorough".
            settings: further ones of `samkit.AutoMaskConfig`.

        Raises:
            ConfigError: a setting is not valid.
            ImageError: the image cannot be read.
            ServerError: the server cannot be reached, or refuses.
        """
        if isinstance(image, EmbeddedImage):
            raise ImageError("automatic masks need the image itself, not its hash")
        form = self._form("image", image_bytes(image), {"preset": preset, **settings})

        def generate() -> Masks:
            with self._lines("/v1/auto", form) as lines:
                size_hw = size_of(next(lines))
                return masks_from_fields([without_type(line) for line in lines], size_hw)

        return self._retry(generate)

    def track(
        self,
        video: str | os.PathLike[str],
        prompts: Sequence[Mapping[str, Any]],
        *,
        reverse: bool = False,
        non_overlapping: bool = False,
        stop: int | None = None,
    ) -> Iterator[VideoAnswer]:
        """Follow objects through a video; yield the answer of each frame as it comes.

        Args:
            video: a video file.
            prompts: each with `frame`, `object_id` (1 by default), and `points` with `labels`, or
                `box`.
            reverse: whether to follow the objects backwards, too.
            non_overlapping: each pixel belongs to one object at most.
            stop: frame to stop before.

        Raises:
            VideoError: the video cannot be read.
            PromptError: a prompt is not valid, or nothing is there.
            ServerError: the server cannot be reached, or refuses.
        """
        settings = {
            "prompts": [
                {name: plain(value) for name, value in prompt.items()} for prompt in prompts
            ],
            "reverse": reverse,
            "non_overlapping": non_overlapping,
            "stop": stop,
        }
        try:
            content = Path(video).read_bytes()
        except OSError as error:
            raise VideoError(f"cannot read {os.fspath(video)}: {reason(error)}") from error
        form = self._form("video", content, settings)
        opened = self._retry(lambda: _entered(self._lines("/v1/track", form)))
        with opened as lines:
            size_hw = size_of(next(lines))
            for line in lines:
                yield video_answer(line, size_hw)

    @contextmanager
    def session(self, image: ImageSource) -> Iterator[RemoteSession]:
        """Open a session: clicks and boxes on one image, one after another, with undo.

        Raises:
            ImageError: the image cannot be read.
            ServerError: the server cannot be reached, or refuses.
        """
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        url = f"ws{self.url.removeprefix('http')}/v1/session"
        content = None
        if isinstance(image, EmbeddedImage):
            url += f"?image={image.sha256}"
        else:
            content = image_bytes(image)
        opening = connect(url, additional_headers=self._headers, max_size=None)
        with ExitStack() as stack:
            try:
                socket = stack.enter_context(opening)
                if content is not None:
                    socket.send(content)
            except (OSError, WebSocketException) as error:
                raise ServerError(f"no session at {self.url}: {error}") from error
            yield RemoteSession(socket, timeout_s=self._timeout_s)

    def _ask_image(self, path: str, image: ImageSource, settings: dict[str, Any]) -> Any:
        """Ask about an image by its hash if the server should have it, else send it."""
        if isinstance(image, EmbeddedImage):
            by_hash = {"json": {"image": image.sha256, **settings}}
            return self._retry(lambda: self._json("POST", path, **by_hash))
        content = image_bytes(image)
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 in self._sent:
            by_hash = {"json": {"image": sha256, **settings}}
            try:
                return self._retry(lambda: self._json("POST", path, **by_hash))
            except UnknownImageError:
                self._sent.pop(sha256, None)
        form = self._form("image", content, settings)
        answer = self._retry(lambda: self._json("POST", path, **form))
        self._sent[sha256] = None
        if len(self._sent) > HASHES_NOTED:
            self._sent.pop(next(iter(self._sent)), None)
        return answer

    def _form(self, field: str, content: bytes, settings: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in settings.items() if value is not None}
        return {"files": {field: (field, content)}, "data": {"request": json.dumps(given)}}

    def _retry(self, ask: Callable[[], Result]) -> Result:
        """Ask again as long as the server is busy."""
        for _ in range(self._retries):
            try:
                return ask()
            except BusyError as error:  # noqa: PERF203 - these are few
                time.sleep(error.retry_after_s)
        return ask()

    def _json(self, method: str, path: str, **request: Any) -> Any:
        with self._reaching():
            response = self._http.request(
                method, f"{self.url}{path}", headers=self._headers, **request
            )
        if response.status_code >= 400:
            raise _error_of(response)
        return response.json()

    @contextmanager
    def _lines(self, path: str, form: dict[str, Any]) -> Iterator[Iterator[dict[str, Any]]]:
        """The lines of a stream but the last one, which says that it is complete."""
        with self._reaching():
            request = self._http.build_request(
                "POST", f"{self.url}{path}", headers=self._headers, **form
            )
            response = self._http.send(request, stream=True)
        try:
            if response.status_code >= 400:
                response.read()
                raise _error_of(response)
            yield self._parsed(response)
        finally:
            response.close()

    def _parsed(self, response: httpx2.Response) -> Iterator[dict[str, Any]]:
        with self._reaching():
            for text in response.iter_lines():
                line = json.loads(text)
                if line["type"] == "problem":
                    raise error_from(line)
                if line["type"] == "end":
                    return
                yield line
        raise ServerError(f"the stream from {self.url} ended before its end")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn errors of the network into one of ours."""
        import httpx2

        try:
            yield
        except httpx2.HTTPError as error:
            raise ServerError(
                f"no answer from {self.url}: {error or type(error).__name__}"
            ) from error


def _error_of(response: httpx2.Response) -> SamkitError:
    try:
        problem = response.json()
    except ValueError:
        problem = {"status": response.status_code, "detail": "no answer of a model server"}
    after = response.headers.get("retry-after", "1")
    return error_from(problem, int(after) if after.isdigit() else 1)


def _entered(context: AbstractContextManager[Result]) -> AbstractContextManager[Result]:
    """Enter a context now, so that what it raises is raised here, and leave it later."""
    entered = context.__enter__()

    @contextmanager
    def inside() -> Iterator[Result]:
        try:
            yield entered
        finally:
            context.__exit__(None, None, None)

    return inside()
