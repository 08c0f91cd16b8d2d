"""A simulated annotator, who does through HTTP and WebSocket what a person does on the page."""

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import numpy as np
from sqlalchemy import select
from websockets.sync.client import ClientConnection, connect

from samkit.dataengine import Store
from samkit.dataengine.schema import AnnotationRow, RevisionRow, SubmissionRow
from samkit.geometry import encode_rle
from studio_server import PASSWORD

TIMEOUT_S = 60
BUSY = 503
PREVIEW_S = 0.08  # between two previews under a moving pointer


@dataclass(kw_only=True)
class Acknowledged:
    """Actions that the server has acknowledged.

    Attributes:
        states: RLE counts of masks by annotation and version.
        requests: annotation ids by the request that made them.
        submitted: pairs of image and user.
    """

    states: dict[tuple[int, int], str] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    submitted: set[tuple[int, int]] = field(default_factory=set)

    def merge(self, other: "Acknowledged") -> None:
        """Add another annotator's actions."""
        self.states |= other.states
        self.requests |= other.requests
        self.submitted |= other.submitted

    def __len__(self) -> int:
        return len(self.states) + len(self.submitted)


def prompt_socket(http: httpx2.Client, url: str, place: str) -> ClientConnection:
    """The connection for prompts on an image, of whoever has signed in by a client.

    Args:
        url: of the server.
        place: path of the image.
    """
    cookies = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    return connect(
        url.replace("http", "ws", 1) + place + "/prompt",
        origin=url,  # type: ignore[arg-type]
        additional_headers={"Cookie": cookies},
        max_size=None,
    )


def wait_until_ready(socket: ClientConnection) -> None:
    """Wait until an image is embedded."""
    while json.loads(socket.recv(TIMEOUT_S))["type"] != "ready":
        pass


class Annotator:
    """One person with a browser.

    Attributes:
        acknowledged: actions that the server confirmed.
        click_ms: time from each click to its masks.
        num_images: number of submitted images.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        project_id: int,
        seed: int,
        prompts: bool = True,
        previews: int = 0,
        think_s: float = 0.0,
    ) -> None:
        """Sign in.

        Args:
            url: URL of the server.
            name: user name.
            project_id: project to work on.
            seed: seed of their choices.
            prompts: whether masks come from the model; otherwise they are boxes.
            previews: number of previews before each click.
            think_s: mean pause before each action.
        """
        self.acknowledged = Acknowledged()
        self.click_ms: list[float] = []
        self.num_images = 0
        self._url = url
        self._project_id = project_id
        self._random = random.Random(seed)
        self._prompts, self._previews, self._think_s = prompts, previews, think_s
        self._last: tuple[int, int] | None = None  # last answer's id and best mask
        self._http = httpx2.Client(base_url=url, timeout=TIMEOUT_S)
        session = self._sign_in(name)
        self._user_id = session["user"]["id"]
        self._http.headers["X-CSRF-Token"] = session["csrf_token"]

    def _sign_in(self, name: str) -> Any:
        """Sign in; retry while the server, which hashes two passwords at a time, is busy."""
        body = {"name": name, "password": PASSWORD}
        while self._http.post("/api/session", json=body).status_code == BUSY:
            time.sleep(self._random.uniform(0.5, 1.5))
        return self._call("GET", "/api/session")

    def work(self, stopped: Callable[[], bool]) -> None:
        """Annotate image after image until stopped."""
        while not stopped():
            lease = self._call("POST", f"/api/projects/{self._project_id}/next")["lease"]
            if lease is None:
                raise RuntimeError("no image is left: give more --images")
            self._image(lease["image"], stopped)

    def _image(self, image: dict[str, Any], stopped: Callable[[], bool]) -> None:
        place = f"/api/images/{image['id']}"
        if not self._prompts:
            self._masks(image, None, stopped)
        else:
            self._http.get(f"{place}/content", params={"max_side": 2048}).raise_for_status()
            with prompt_socket(self._http, self._url, place) as socket:
                wait_until_ready(socket)
                self._masks(image, socket, stopped)
        if not stopped():
            self._call("POST", f"{place}/submit")
            self.acknowledged.submitted.add((image["id"], self._user_id))
            self.num_images += 1

    def _masks(
        self, image: dict[str, Any], socket: ClientConnection | None, stopped: Callable[[], bool]
    ) -> None:
        """Make three masks: each saved, corrected and undone; one is redone, and one deleted."""
        for number in range(3):
            if stopped():
                return
            rle, events = self._mask(image, socket, refine=False)
            one = self._save(image["id"], rle, events)
            rle, events = self._mask(image, socket, refine=True)
            change = {"version": one["version"], "rle": rle, "class_id": None, "events": events}
            one = self._change("PUT", f"/api/annotations/{one['id']}", change)
            one = self._step_history(one, "undo")
            if number == 1:
                one = self._step_history(one, "redo")
            if number == 2:
                self._think()
                place = f"/api/annotations/{one['id']}?version={one['version']}"
                self._change("DELETE", place, None)

    def _mask(
        self, image: dict[str, Any], socket: ClientConnection | None, *, refine: bool
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        height, width = image["size_hw"]
        point = [self._random.randrange(width), self._random.randrange(height)]
        event = {"kind": "point", "data": {"xy": point, "label": 1}, "duration_ms": 500}
        self._think()
        if socket is None:
            mask = np.zeros((height, width), bool)
            mask[point[1] : point[1] + 20, point[0] : point[0] + 30] = True
            return dict(encode_rle(mask)), [event]
        for number in range(self._previews):
            near = [min(width - 1, point[0] + number), point[1]]
            message = {"type": "preview", "id": number, "points": [near], "labels": [1]}
            socket.send(json.dumps(message))
            time.sleep(PREVIEW_S)
        number = self._random.randrange(2**31)
        last = self._last if refine else None
        message = {
            "type": "prompt",
            "id": number,
            "points": [point],
            "labels": [1],
            "box": None,
            "continue_from": {"id": last[0], "candidate": last[1]} if last else None,
            "multimask": not refine,
        }
        started = time.perf_counter()
        socket.send(json.dumps(message))
        while True:
            answer = json.loads(socket.recv(TIMEOUT_S))
            if answer["type"] == "error":
                raise RuntimeError(answer["detail"])
            if answer["type"] == "masks" and answer["id"] == number:
                break
        self.click_ms.append((time.perf_counter() - started) * 1000)
        self._last = number, answer["best"]
        return answer["masks"][answer["best"]]["rle"], [event]

    def _save(
        self, image_id: int, rle: dict[str, Any], events: list[dict[str, Any]]
    ) -> dict[str, Any]:
        request_id = uuid.uuid4().hex
        body = {"rle": rle, "class_id": None, "events": events, "request_id": request_id}
        one = self._change("POST", f"/api/images/{image_id}/annotations", body)
        self.acknowledged.requests[request_id] = one["id"]
        return one

    def _step_history(self, one: dict[str, Any], way: str) -> dict[str, Any]:
        self._think()
        return self._change(
            "POST", f"/api/annotations/{one['id']}/{way}", {"version": one["version"]}
        )

    def _change(self, method: str, place: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Perform an action on a mask and record its new state."""
        one = self._call(method, place, body)
        self.acknowledged.states[one["id"], one["version"]] = one["rle"]["counts"]
        return one

    def _call(self, method: str, place: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._http.request(method, place, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{method} {place}: {answer.status_code} {answer.text[:200]}")
        return answer.json() if answer.content else None

    def _think(self) -> None:
        if self._think_s:
            time.sleep(self._random.uniform(0.5, 1.5) * self._think_s)


def faults(store: Store, acknowledged: Acknowledged, *, exactly: bool) -> list[str]:
    """Describe acknowledged actions that are not stored exactly once and unchanged.

    Args:
        store: the store to check.
        acknowledged: actions of all annotators.
        exactly: whether nothing else may be stored, because no answer was lost.
    """
    with store.read() as session:
        # First the masks: what comes in meanwhile has its states, too.
        masks = session.scalars(select(AnnotationRow)).all()
        states = {
            (row.annotation_id, row.version): row.counts
            for row in session.scalars(select(RevisionRow))
        }
        requests = Counter((row.request_id, row.id) for row in masks)
        submissions = Counter(
            (row.image_id, row.user_id) for row in session.scalars(select(SubmissionRow))
        )
        versions = {row.id: row.version for row in masks}
    found = [
        f"annotation {key[0]}, version {key[1]} is lost or differs"
        for key, counts in acknowledged.states.items()
        if states.get(key) != counts
    ]
    found += [
        f"request {key} has not made annotation {number}"
        for key, number in acknowledged.requests.items()
        if requests[key, number] != 1
    ]
    found += [
        f"image {image} was not submitted once by user {user}"
        for image, user in acknowledged.submitted
        if submissions[image, user] != 1
    ]
    # Versions without a gap: no action is stored partially.
    found += [
        f"annotation {number} lacks some of its {version} states"
        for number, version in versions.items()
        if any((number, step) not in states for step in range(1, version + 1))
    ]
    if exactly and len(states) != len(acknowledged.states):
        found.append(f"{len(states)} states are stored, {len(acknowledged.states)} acknowledged")
    if exactly and len(masks) != len(acknowledged.requests):
        found.append(f"{len(masks)} masks are stored, {len(acknowledged.requests)} acknowledged")
    return found
