"""A learner beside the server: a project of finished masks, and a model that is trained on them."""

import time
from pathlib import Path

import httpx2
from PIL import Image

from samkit.dataengine import (
    Store,
    add_images,
    create_project,
    create_user,
    list_images,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.datasets import open_data
from studio_server import PASSWORD

NUM_SCENES = 40  # a third of them is held back
SCENES = f"scenes:count={NUM_SCENES},size=512,seed=3,things=6"
PAUSE_S = 0.5
TIMEOUT_S = 120


def add_finished_project(where: str, folder: Path) -> int:
    """Add a project of drawn scenes whose images are submitted with their masks; return its id."""
    scenes = open_data(SCENES)
    for index in range(NUM_SCENES):
        Image.fromarray(scenes[index].image).save(folder / f"{index:02}.png")
    with Store.open(where) as store:
        project = create_project(store, name="scenes", root=folder)
        add_images(store, project.id)
        robot = create_user(store, name="robot", role="admin", password=PASSWORD).id
        for image in list_images(store, project.id).items:
            take_image(store, image.id, robot)
            for rle in scenes[int(image.path[:2])].rles:
                save_annotation(store, image_id=image.id, user_id=robot, rle=rle)
            submit_image(store, image.id, robot)
    return project.id


class LearnerAtWork:
    """Keeps a project's learner at work, by the server's own API."""

    def __init__(self, url: str, project_id: int) -> None:
        """Sign in, and wait until the learner is at work."""
        self._place = f"/api/projects/{project_id}/learning"
        self._http = httpx2.Client(base_url=url, timeout=TIMEOUT_S)
        signed_in = self._http.post("/api/session", json={"name": "robot", "password": PASSWORD})
        signed_in.raise_for_status()
        session = self._http.get("/api/session").raise_for_status().json()
        self._http.headers["X-CSRF-Token"] = session["csrf_token"]
        self._looks = self._at_work = 0
        self._learned: list[str] = []
        deadline = time.monotonic() + TIMEOUT_S
        while not self.look():
            if time.monotonic() > deadline:
                raise RuntimeError("the learner did not start")
            time.sleep(PAUSE_S)
        self._looks = self._at_work = 0

    def look(self) -> bool:
        """Note whether the learner is at work now; if it is not, ask for another round."""
        state = self._http.get(self._place).raise_for_status().json()
        is_at_work = state["doing"] == "learn"
        self._looks += 1
        self._at_work += is_at_work
        self._learned = [one["reason"] for one in state["learned"]]
        if state["doing"] is None:
            self._http.post(f"{self._place}/learn").raise_for_status()
        return is_at_work

    def report(self) -> dict[str, object]:
        """Fraction of the looks at which it was at work, and how its rounds ended."""
        return {"at_work": round(self._at_work / max(1, self._looks), 3), "rounds": self._learned}
