"""A clip annotated through the server: few prompts, kills while objects are followed, a round trip.

    python benchmarks/studio_video.py [--frames 1000]

Three discs of a drawn clip are shown by a box each, followed to the end, and corrected by a box
in two frames, all by REST. Prompts are answered by the embedded model. The process that follows
has a tracker of colours in place of the network, at a fixed pace: speed and masks say nothing
about the network (video.py measures it). While it runs, that process is killed twice and the
server once, by SIGKILL; all that the server had shown as stored must be there afterwards, bit by
bit. All frames are looked at twice, between which the server's memory must not grow. The tracks
are exported as COCO, imported into another project, and exported again: both files must be the
same. Prints figures as JSON, and exits with 1 if anything was lost or differs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np

from samkit import Predictor
from samkit.batch import follow_next
from samkit.dataengine import Store, add_videos, create_project, create_user, worker_name
from samkit.geometry import CoordMap, decode_rle, mask_to_logits
from samkit.image_spec import ImageSpec
from samkit.video import ObjectAnswer, VideoPredictor, write_video
from samkit.web import WebConfig, create_app, serve
from studio_server import PASSWORD

SIZE_HW = (90, 160)
SPEC = ImageSpec(size=160, logits_stride=1)
RADIUS, ROUND = 14, 120  # of discs; frames until they are back
COLOURS = {1: (210, 50, 40), 2: (30, 70, 220), 3: (230, 200, 40)}
LIKE = 120  # of a colour: sum of the channels' differences
IDLE_S = 10.0
WINDOW = 64  # frames whose masks are read at once
PACE_S = 0.1  # for a frame that is followed, so that there is time for kills
BOUND_MB = 32.0  # by which the server's memory may grow while all frames are looked at again
MARGIN = 2  # of a box around a disc
KILLS = (0.25, 0.5, 0.75)  # of the frames: the follower, the server, the follower


def main() -> None:
    """Run the measurement, or one of its processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--serve", nargs=2, metavar=("STORE", "PORT"), help=argparse.SUPPRESS)
    parser.add_argument("--follow", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        run_server(args.serve[0], int(args.serve[1]))
    elif args.follow:
        run_follower()
    else:
        with tempfile.TemporaryDirectory(prefix="samkit-bench-") as folder:
            result = Session(Path(folder), args.frames).measure()
        print(json.dumps(result, indent=1))
        sys.exit(1 if result["faults"] else 0)


def run_server(where: str, port: int) -> None:
    """Serve a store, with a follower of colours."""
    config = WebConfig(cache_folder=Path(where).parent / "cache")
    with Store.open(where) as store:
        app = create_app(store, load_predictor=Predictor.load, config=config)
        app.state.studio.followers.command = [sys.executable, __file__, "--follow"]
        serve(app, host="127.0.0.1", port=port, on_ready=lambda url: print(url, flush=True))


class ColourTracker:
    """Follows what has a colour: a tracker without a network."""

    def describe(self) -> dict[str, Any]:
        return {"name": "colours"}

    def coords(self, size_hw: tuple[int, int]) -> CoordMap:
        return CoordMap.of(size_hw, SPEC)

    def encode(self, frame: np.ndarray) -> np.ndarray:
        time.sleep(PACE_S)
        return frame.astype(np.int32)

    def start(self) -> dict[int, np.ndarray]:
        return {}

    def prompt(
        self,
        features: np.ndarray,
        memory: Any,  # noqa: ARG002 - the mask says it all
        index: int,  # noqa: ARG002
        prompts: Any,
        previous: Any,  # noqa: ARG002
    ) -> ObjectAnswer:
        return self._answer(features, prompts.mask_logits[0, 0])

    def track(
        self, features: np.ndarray, memories: Any, index: int, *, reverse: bool
    ) -> list[ObjectAnswer]:
        return [self._find(features, one, index, reverse=reverse) for one in memories]

    def memorise(
        self,
        features: np.ndarray,
        memory: dict[int, np.ndarray],
        index: int,
        answer: ObjectAnswer,
        *,
        prompted: bool,
        reverse: bool,  # noqa: ARG002
    ) -> None:
        if prompted:
            memory[index] = np.median(features[answer.mask()], axis=0)

    def release(self, memory: dict[int, np.ndarray], index: int | None = None) -> None:
        if index is not None:
            del memory[index]

    def _find(
        self, features: np.ndarray, memory: dict[int, np.ndarray], index: int, *, reverse: bool
    ) -> ObjectAnswer:
        passed = [at for at in memory if (at >= index if reverse else at <= index)]
        colour = memory[min(passed, key=lambda at: abs(at - index))]
        return self._answer(features, np.abs(features - colour).sum(axis=2) < LIKE)

    def _answer(self, features: np.ndarray, mask: np.ndarray) -> ObjectAnswer:
        coords = self.coords((features.shape[0], features.shape[1]))
        state: Any = "present" if mask.any() else "absent"
        logits = mask_to_logits(mask, coords)
        return ObjectAnswer(logits=logits, coords=coords, score=0.9, state=state, exact=mask)


class Colours(VideoPredictor):
    """A video predictor of colours."""

    def __init__(self) -> None:
        nothing: Any = None
        super().__init__(nothing, ColourTracker())


@dataclass
class Discs:
    """Frames of three discs, drawn when they are asked for, and their masks."""

    count: int

    def places(self, index: int) -> dict[int, tuple[int, int]]:
        """Centres, x and y."""
        phase = 2 * np.pi * index / ROUND
        return {
            1: (80 + round(110 * np.sin(phase)), 20),  # leaves the picture and comes back
            2: (40 + round(20 * np.cos(phase)), 65),
            3: (115 + round(20 * np.sin(2 * phase)), 65),
        }

    def draw(self, index: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """A frame, and the mask of each disc."""
        frame = np.full((*SIZE_HW, 3), (110, 120, 110), np.uint8)
        masks = {}
        for name, place in self.places(index).items():
            drawn = cv2.circle(np.zeros(SIZE_HW, np.uint8), place, RADIUS, 1, -1)
            masks[name] = drawn > 0
            frame[masks[name]] = COLOURS[name]
        return frame, masks

    def __iter__(self) -> Iterator[np.ndarray]:
        for index in range(self.count):
            yield self.draw(index)[0]


def run_follower() -> None:
    """Follow until nothing has waited for some seconds."""
    tracker = Colours()
    with Store.open(os.environ["SAMKIT_STORE"]) as store:
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < IDLE_S:
            if follow_next(store, tracker, worker=worker_name(os.getpid())) is not None:
                idle_since = time.monotonic()
            time.sleep(0.2)


class Session:
    """A server, and a person who annotates one clip."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count, self.clip = count, Discs(count)
        self.where, self.faults, self.num_kills = folder / "store.db", [], 0
        root = folder / "root"
        root.mkdir()
        write_video(root / "discs.mp4", self.clip, rate=25)
        with Store.open(self.where) as store:
            create_user(store, name="ada", role="admin", password=PASSWORD)
            for name in ("first", "second"):
                add_videos(store, create_project(store, name=name, root=root).id)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.num_prompts = 0
        self.start()

    def start(self) -> None:
        """Start the server, and sign in."""
        command = [sys.executable, __file__, "--serve", str(self.where), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        url = self.process.stdout.readline().strip()
        self.client = httpx2.Client(base_url=f"{url}/api", headers={"Origin": url}, timeout=300)
        while self.client.get("/health").status_code != 200:
            time.sleep(0.2)
        signed = self.client.post("/session", json={"name": "ada", "password": PASSWORD})
        self.client.headers["X-CSRF-Token"] = signed.raise_for_status().json()["csrf_token"]
        while self.client.get("/status").json()["model"] is None:
            time.sleep(0.5)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Send a request, and return the answer's JSON."""
        answer = self.client.request(method, path, **options)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def measure(self) -> dict[str, Any]:
        """Annotate, kill, correct, export, import."""
        began = time.monotonic()
        try:
            self.ask("POST", "/videos/1/lease")
            tracks = [self.ask("POST", "/videos/1/tracks", json={})["id"] for _ in range(3)]
            for name, track in enumerate(tracks, start=1):
                self.prompt(track, 0, name)
            follow_s = self.follow(kills=True)
            for frame, name in ((round(0.4 * self.count), 2), (round(0.7 * self.count), 3)):
                self.prompt(tracks[name - 1], frame, name)
            corrected = self.masks()
            follow_s += self.follow(start=0)
            self.check_corrections(corrected)
            memory_mb = [self.resident_mb()]
            for _ in range(2):
                self.play()
                memory_mb.append(self.resident_mb())
            if memory_mb[2] - memory_mb[1] > BOUND_MB:
                self.faults.append(f"memory grew from {memory_mb[1]:.0f} to {memory_mb[2]:.0f} MB")
            self.check_round_trip()
            found = self.masks()
        finally:
            self.process.kill()
        return {
            "frames": self.count,
            "prompts": self.num_prompts,
            "masks": len(found),
            "mean_iou": round(float(np.mean(list(self.ious(tracks, found)))), 3),
            "follow_s": round(follow_s),
            "all_s": round(time.monotonic() - began),
            "kills": self.num_kills,
            "server_mb": [round(one) for one in memory_mb],
            "faults": self.faults,
        }

    def prompt(self, track: int, frame: int, name: int) -> None:
        """Show a disc by a box."""
        x, y = self.clip.places(frame)[name]
        reach = RADIUS + MARGIN
        box = [x - reach, max(0, y - reach), x + reach, y + reach]
        self.ask("PUT", f"/tracks/{track}/frames/{frame}/prompt", json={"box": box})
        self.num_prompts += 1
        print(f"prompt {self.num_prompts}", file=sys.stderr, flush=True)

    def follow(self, *, kills: bool = False, start: int = 0) -> float:
        """Follow to the end; with `kills`, what was shown before each is compared afterwards."""
        began = time.monotonic()
        due = [round(share * self.count) for share in KILLS] if kills else []
        self.ask("POST", "/videos/1/follow", json={"start": start})
        while True:
            state = self.ask("GET", "/videos/1/follow")
            if state["job"]["state"] not in ("waiting", "running"):
                break
            if due and state["at"] >= due[0]:
                due.pop(0)
                self.kill(state, server=len(due) == 1)
            time.sleep(0.2)
        if due:
            self.faults.append(f"following ended before {len(due)} of the kills")
        if state["job"]["state"] != "done":
            self.faults.append(f"following has {state['job']['state']}: {state['job']['error']}")
        return time.monotonic() - began

    def kill(self, state: dict[str, Any], *, server: bool) -> None:
        """Kill the follower or the server at once; what was shown must be there afterwards."""
        self.num_kills += 1
        shown = self.masks()
        what = "server" if server else "follower"
        print(f"killing the {what} in frame {state['at']}", file=sys.stderr, flush=True)
        if server:
            self.process.kill()
            self.process.wait()
            self.start()
        else:
            os.kill(int(state["job"]["data"]["worker"].rpartition(":")[2]), signal.SIGKILL)
        found = self.masks()
        lost = [key for key, one in shown.items() if found.get(key) != one]
        if lost:
            self.faults.append(f"{len(lost)} masks were lost or changed by a kill: {lost[:3]}")

    def masks(self) -> dict[tuple[int, int], str]:
        """All stored masks, by track and frame."""
        found = {}
        for first in range(0, self.count, WINDOW):
            last = min(self.count, first + WINDOW) - 1
            items = self.ask("GET", f"/videos/1/masks?first={first}&last={last}")["items"]
            found |= {(one["track_id"], one["frame"]): one["rle"]["counts"] for one in items}
        return found

    def check_corrections(self, corrected: dict[tuple[int, int], str]) -> None:
        """Masks in frames that a person prompted are what they were."""
        found = self.masks()
        for track in self.ask("GET", "/videos/1/tracks")["items"]:
            for run in track["runs"]:
                if run["kind"] == "prompted":
                    key = track["id"], run["first"]
                    if found[key] != corrected[key]:
                        self.faults.append(f"the correction {key} did not stay")

    def play(self) -> None:
        """Look at all frames and their masks."""
        self.masks()
        for frame in range(self.count):
            self.client.get(f"/videos/1/frames/{frame}?max_side=512").raise_for_status()

    def check_round_trip(self) -> None:
        """Export, import into the other project, export again."""
        first = self.export(1)
        packed = {"Content-Type": "application/json"}
        report = self.ask("POST", "/projects/2/videos/import", content=first, headers=packed)
        if report["num_added"] != 3 or report["faults"]:
            self.faults.append(f"the import says {report}")
        if self.export(2) != first:
            self.faults.append("what was imported differs from what was exported")

    def export(self, project: int) -> bytes:
        """The JSON file of an export."""
        answer = self.client.get(f"/projects/{project}/videos/export?format=coco-video")
        with zipfile.ZipFile(io.BytesIO(answer.raise_for_status().content)) as archive:
            return archive.read("annotations.json")

    def ious(self, tracks: list[int], found: dict[tuple[int, int], str]) -> Any:
        """IoU of each mask with the disc, where it is seen."""
        for frame in range(self.count):
            for name, truth in self.clip.draw(frame)[1].items():
                counts = found.get((tracks[name - 1], frame))
                if counts is not None and truth.sum() > 100:
                    mask = decode_rle({"size": list(truth.shape), "counts": counts})
                    yield (mask & truth).sum() / (mask | truth).sum()

    def resident_mb(self) -> float:
        """Resident memory of the server."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(one.split()[1]) / 1000 for one in lines if one.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
