"""Objects of one video followed into an output folder: resumable, with files in several formats.

While objects are followed, each finished frame is a line in `.samkit-track/frames.jsonl`, from
which a stopped run goes on. The results are written when all frames are done, each completely or
not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from samkit.arrays import BoolArray, RgbImage
from samkit.drawing import Layer, draw_labels, draw_layers, mask_color
from samkit.errors import ConfigError, OutputError, PromptError
from samkit.files import complete_lines, hold, make_folder, reason, write_bytes
from samkit.formats import (
    TrackedMask,
    coco_video,
    frame_line,
    mot_lines,
    voc_palette,
    write_png,
)
from samkit.geometry import decode_rle, decode_rle_patch, rle_area, rle_box_xyxy
from samkit.video import ObjectResult, Video, VideoAnswer, write_video

TRACK_STATE_NAME = ".samkit-track"
STATE_FORMAT = "samkit-track-1"
MAX_PNG_OBJECT = 255  # numbers that an 8-bit label image has


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectPrompt:
    """One prompt of one object in one frame; of points, box and mask, what is given.

    Attributes:
        object_id: names the object.
        index: of the frame.
        points_xy, labels: N points.
        box_xyxy: a box.
        mask: (H, W).
    """

    object_id: int
    index: int
    points_xy: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box_xyxy: tuple[float, ...] | None = None
    mask: BoolArray | None = None

    def give(self, video: Video) -> None:
        """Prompt the object."""
        video.prompt(
            self.index,
            object_id=self.object_id,
            points=self.points_xy or None,
            labels=self.labels or None,
            boxes=self.box_xyxy,
            mask=self.mask,
        )

    def to_json(self) -> dict[str, Any]:
        """All that results depend on."""
        area = None if self.mask is None else int(self.mask.sum())
        return {
            "object": self.object_id,
            "frame": self.index,
            "points": self.points_xy,
            "labels": self.labels,
            "box": self.box_xyxy,
            "mask_area": area,
        }


class TrackFolder:
    """The output folder of a run, with what is done so far."""

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        """Create a folder's state.

        Args:
            output: the folder.
            settings: all that masks depend on; a run with other settings is not gone on with.
        """
        self.output = output
        self.settings = json.loads(json.dumps({"format": STATE_FORMAT, **settings}))
        self.answers: dict[tuple[bool, int], dict[str, Any]] = {}
        self._file: BinaryIO | None = None

    @contextmanager
    def writing(self) -> Iterator[TrackFolder]:
        """Lock the folder for this run, and read what is done.

        Raises:
            OutputError: it cannot be written to, or another run does so.
            ConfigError: it holds the beginning of another run.
        """
        path = self.output / TRACK_STATE_NAME / "frames.jsonl"
        make_folder(path.parent)
        try:
            file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {reason(error)}") from error
        with file:
            hold(file, self.output)
            self._file = file
            self._read(path)
            yield self
            self._file = None

    def add(self, answer: VideoAnswer, *, reverse: bool) -> None:
        """Record a frame."""
        line = {"reverse": reverse, **frame_line(answer.index, tracked_masks(answer))}
        self.answers[reverse, answer.index] = line
        self._write(line)

    def done(self, *, reverse: bool) -> list[dict[str, Any]]:
        """The finished frames of a direction, in the order in which they were followed."""
        found = [line for (direction, _), line in self.answers.items() if direction == reverse]
        return sorted(found, key=lambda line: -line["frame"] if reverse else line["frame"])

    def _write(self, content: Mapping[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(json.dumps(content).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write to {self.output}: {reason(error)}") from error

    def _read(self, path: Path) -> None:
        assert self._file is not None
        lines = complete_lines(self._file)
        if not lines:
            self._write(self.settings)
            return
        try:
            settings, *answers = [json.loads(line) for line in lines]
        except ValueError as error:
            raise OutputError(f"{path} is damaged: remove it, or give another --output") from error
        if settings != self.settings:
            names = [
                name for name in self.settings if settings.get(name) != self.settings.get(name)
            ]
            raise ConfigError(
                f"{self.output} holds a run with other {', '.join(names) or 'settings'}: give"
                f" another --output, or remove {path.parent} to start over"
            )
        self.answers = {(line["reverse"], line["frame"]): line for line in answers}


def tracked_masks(answer: VideoAnswer) -> list[TrackedMask]:
    """The masks of an answer, to be written."""
    return [
        TrackedMask(
            index=answer.index,
            object_id=object_id,
            rle=result.rle,
            score=result.score,
            state=result.state,
        )
        for object_id, result in zip(answer.object_ids, answer.results, strict=True)
    ]


def answer_of(line: Mapping[str, Any], size_hw: tuple[int, int]) -> VideoAnswer:
    """The answer of a line that was recorded."""
    masks = [TrackedMask.from_json(line["frame"], one) for one in line["objects"]]
    return VideoAnswer(
        index=line["frame"],
        object_ids=tuple(mask.object_id for mask in masks),
        results=tuple(
            ObjectResult(rle=mask.rle, score=mask.score, state=mask.state)  # type: ignore[arg-type]
            for mask in masks
        ),
        size_hw=size_hw,
    )


def follow_objects(
    video: Video,
    prompts: Sequence[ObjectPrompt],
    folder: TrackFolder,
    *,
    reverse: bool = False,
    on_frame: Callable[[bool], None] | None = None,
) -> list[VideoAnswer]:
    """Prompt the objects, follow them to the end, and with `reverse` back to the beginning as well.

    Frames that an earlier run has recorded are taken over.

    Args:
        video: just opened.
        prompts: at least one.
        folder: being written.
        reverse: also follow objects against time, from the last prompt on; between two prompts of
            an object the nearer one decides.
        on_frame: called after each frame with whether it was followed now.

    Returns:
        the answers of all frames that have any, in order.

    Raises:
        PromptError: a prompt is invalid, or nothing is there.
        VideoError: a frame cannot be read.
    """
    if not prompts:
        raise PromptError("give a prompt: a point, a box or a mask in a frame")
    for prompt in prompts:
        prompt.give(video)
    first, last = (choose(prompt.index for prompt in prompts) for choose in (min, max))
    tell = on_frame or (lambda _: None)
    _follow(video, folder, first, tell, reverse=False)
    if reverse and last > 0:
        _follow(video, folder, last, tell, reverse=True)
    count = video.num_frames or 0
    found = [video.answer(index) for index in range(count)]
    return [answer for answer in found if answer.object_ids]


def _follow(
    video: Video,
    folder: TrackFolder,
    start: int,
    on_frame: Callable[[bool], None],
    *,
    reverse: bool,
) -> None:
    """Follow objects in one direction, from where an earlier run has ended."""
    done = folder.done(reverse=reverse)
    video.restore((answer_of(line, video.size_hw) for line in done), reverse=reverse)
    for _ in done:
        on_frame(False)
    at = start + (-len(done) if reverse else len(done))
    if at < 0 or not video.has(at):
        return
    for answer in video.propagate(reverse=reverse, start=at):
        folder.add(answer, reverse=reverse)
        on_frame(True)


def write_tracks(
    answers: Sequence[VideoAnswer],
    output: Path,
    formats: Iterable[str],
    *,
    frames: Iterable[RgbImage],
    names: Sequence[str],
    video_name: str,
    rate: float | None,
) -> list[Path]:
    """Write results in the chosen formats; return what was written.

    Args:
        answers: of all frames that have any.
        output: folder.
        formats: of `TRACK_FORMATS`.
        frames: all frames of the video, for overlays.
        names: of all frames.
        video_name: of the video.
        rate: frames per second.

    Raises:
        OutputError: a file cannot be written.
    """
    chosen = set(formats)
    masks = [mask for answer in answers for mask in tracked_masks(answer)]
    written: list[Path] = []
    if "png" in chosen:
        folder = output / "masks"
        make_folder(folder)
        by_index = {answer.index: answer for answer in answers}
        for index, name in enumerate(names):
            labels = label_image(by_index.get(index), answers[0].size_hw)
            write_png(folder / f"{Path(name).stem}.png", labels, palette=voc_palette())
        written.append(folder)
    if "jsonl" in chosen:
        lines = [json.dumps(frame_line(one.index, tracked_masks(one))) for one in answers]
        write_bytes(output / "tracks.jsonl", ("\n".join(lines) + "\n").encode())
        written.append(output / "tracks.jsonl")
    if "mot" in chosen:
        write_bytes(output / "mot.txt", ("\n".join(mot_lines(masks)) + "\n").encode())
        written.append(output / "mot.txt")
    if "coco" in chosen:
        document = coco_video(masks, file_names=names, size_hw=answers[0].size_hw, name=video_name)
        write_bytes(output / "coco_video.json", json.dumps(document).encode())
        written.append(output / "coco_video.json")
    if "overlay" in chosen:
        by_index = {answer.index: answer for answer in answers}
        drawn = (draw_answer(frame, by_index.get(i)) for i, frame in enumerate(frames))
        write_video(output / "overlay.mp4", drawn, rate=rate)
        written.append(output / "overlay.mp4")
    return written


def label_image(answer: VideoAnswer | None, size_hw: tuple[int, int]) -> np.ndarray:
    """The label image (H, W) of a frame, in which each object has its number.

    Raises:
        ConfigError: an object has no number of 8 bits.
    """
    labels = np.zeros(size_hw, np.uint8)
    if answer is None:
        return labels
    order = sorted(
        zip(answer.object_ids, answer.rles, strict=True), key=lambda one: -rle_area(one[1])
    )
    for object_id, rle in order:  # smaller masks cover larger ones
        if not 1 <= object_id <= MAX_PNG_OBJECT:
            raise ConfigError(
                f"label images hold the objects 1 to {MAX_PNG_OBJECT}; got object {object_id}:"
                " give another number, or no --format png"
            )
        labels[decode_rle(rle)] = object_id
    return labels


def draw_answer(frame: RgbImage, answer: VideoAnswer | None) -> RgbImage:
    """A frame with its objects, named; those that are uncertain have a question mark."""
    if answer is None:
        return frame
    layers, corners, texts, colors = [], [], [], []
    for object_id, result in zip(answer.object_ids, answer.results, strict=True):
        if not result.area:
            continue
        x0, y0, x1, y1 = rle_box_xyxy(result.rle)
        color = mask_color(object_id)
        patch = decode_rle_patch(result.rle, (x0, y0, x1, y1))
        layers.append(Layer(color=color, patch=patch, corner_xy=(x0, y0)))
        corners.append((x0, y0))
        texts.append(f"{object_id}{'?' if result.state == 'uncertain' else ''}")
        colors.append(color)
    if not layers:
        return frame
    drawn = draw_layers(frame, layers)
    return draw_labels(drawn, np.array(corners, np.int64), texts, colors)
