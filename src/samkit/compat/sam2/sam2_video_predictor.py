"""`SAM2VideoPredictor`: objects followed through a video, by samkit's trackers.

Shape legend: O objects, N points, H x W the frames' size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samkit.arrays import BoolArray, FloatArray, IntArray
from samkit.backends import create_backend
from samkit.compat.sam2.errors import (
    FramesError,
    MissingPromptError,
    NoObjectError,
    PromptShapeError,
    VideoPromptError,
)
from samkit.compat.sam2.loading import build_from_hub
from samkit.compat.sam2.modeling.sam2_base import SAM2Base
from samkit.compat.sam2.utils.transforms import SAM2Transforms
from samkit.compat.sam2.video_session import RecordingTracker, StateImages, VideoSession
from samkit.errors import VideoError
from samkit.models import Sam
from samkit.predict import Predictor
from samkit.video import VideoLike, VideoPredictor

TOP_LEFT, BOTTOM_RIGHT = 2, 3  # labels of the corners of a box
State: TypeAlias = dict[str, Any]
# A frame, the names of all objects, and their logits (O, 1, H, W), above 0 inside.
FrameMasks: TypeAlias = tuple[int, list[Hashable], Tensor]


class SAM2VideoPredictor(SAM2Base):
    """Follows objects through videos; `init_state` opens one, the other methods take its state."""

    def __init__(self, network: Sam, *, model_name: str, apply_postprocessing: bool = True) -> None:
        """Take a network; see `SAM2Base`."""
        super().__init__(network, model_name=model_name, apply_postprocessing=apply_postprocessing)
        self._ready: tuple[Any, VideoPredictor] | None = None

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
        """Load a model of the hub; see `build_sam2_video_predictor_hf`."""
        return build_from_hub(cls, model_id, **kwargs)

    def init_state(
        self,
        video_path: VideoLike,
        offload_video_to_cpu: bool = False,  # noqa: FBT001, FBT002
        offload_state_to_cpu: bool = False,  # noqa: FBT001, FBT002
        async_loading_frames: bool = False,  # noqa: FBT001, FBT002, ARG002 - read when needed
    ) -> State:
        """Open a video.

        Args:
            video_path: a folder of frames, a video file, or frames in memory.
            offload_video_to_cpu: no effect: frames are read when they are needed.
            offload_state_to_cpu: no effect: results are run-length encodings.
            async_loading_frames: no effect.

        Returns:
            the state, with `num_frames`, `video_height`, `video_width`, `obj_ids` and the like.

        Raises:
            FramesError: it has no frames, or cannot be read.
        """
        with self._full_precision():
            opened = self._video_predictor()
            tracker = RecordingTracker(opened.tracker)
            try:
                video = VideoPredictor(opened.predictor, tracker).open(
                    video_path, non_overlapping=self.non_overlap_masks
                )
                height, width = video.size_hw
            except VideoError as error:
                raise FramesError(str(error)) from error
        count = video.num_frames
        if count is None:
            raise FramesError(f"{video} has no known length: give a file, a folder or a list")
        transforms = SAM2Transforms(self.image_size, 0.0, spec=self.image_spec)
        return {
            "session": VideoSession(video, tracker),
            "images": StateImages(video, transforms, count),
            "num_frames": count,
            "video_height": height,
            "video_width": width,
            "device": self.device,
            "storage_device": torch.device("cpu") if offload_state_to_cpu else self.device,
            "offload_video_to_cpu": offload_video_to_cpu,
            "offload_state_to_cpu": offload_state_to_cpu,
            "obj_ids": [],
            "obj_id_to_idx": OrderedDict(),
            "obj_idx_to_id": OrderedDict(),
            "tracking_has_started": False,
        }

    def add_new_points_or_box(
        self,
        inference_state: State,
        frame_idx: int,
        obj_id: Hashable,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        clear_old_points: bool = True,  # noqa: FBT001, FBT002
        normalize_coords: bool = True,  # noqa: FBT001, FBT002
        box: npt.ArrayLike | None = None,
    ) -> FrameMasks:
        """Show where an object is in a frame, or correct its mask there.

        Args:
            inference_state: of `init_state`.
            frame_idx: of the frame.
            obj_id: names the object; a new name is a new object, also after propagation.
            points: (N, 2), xy in pixels of the frame.
            labels: (N,): 1 foreground, 0 background; 2 and 3 the corners of a box.
            clear_old_points: whether they replace earlier points of the frame, or add to them.
            normalize_coords: False if coordinates are fractions of the frame's sides.
            box: (4,), x0 y0 x1 y1, alone or with points.

        Returns:
            the frame, all objects, and their logits (O, 1, H, W) in the frame; an object of which
            nothing is known there is absent.

        Raises:
            VideoPromptError: points and labels do not go together, or a box does not go with
                earlier points.
            PromptError: a prompt lies outside of the frame, or is none.
            VideoError: there is no such frame.
        """
        if (points is None) != (labels is None):
            raise VideoPromptError("points and labels go together: give both, or a box alone")
        if points is None and box is None:
            raise VideoPromptError("a prompt needs points with labels, or a box; got neither")
        if box is not None and not clear_old_points:
            raise VideoPromptError(
                "a box comes before points: give it with clear_old_points=True, then add points"
            )
        session: VideoSession = inference_state["session"]
        height, width = session.video.size_hw
        scale = np.array([1.0, 1.0] if normalize_coords else [width, height])
        xy, kinds, corners = read_prompt(points, labels, box)
        with self._full_precision():
            session.prompt(
                frame_idx,
                obj_id,
                points=None if xy is None else xy * scale,
                labels=kinds,
                box=None if corners is None else (corners * scale).reshape(4),
                add=not clear_old_points,
            )
        return self._frame(inference_state, frame_idx)

    def add_new_points(self, *args: Any, **kwargs: Any) -> FrameMasks:
        """The former name of `add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **kwargs)

    def add_new_mask(
        self, inference_state: State, frame_idx: int, obj_id: Hashable, mask: npt.ArrayLike
    ) -> FrameMasks:
        """Give an object's mask (h, w) in a frame, which is taken as it is.

        Raises:
            PromptShapeError: it has not two axes.
            VideoError: there is no such frame.
        """
        given = (mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)) > 0
        if given.ndim != 2:
            raise PromptShapeError(f"mask must be (H, W); got {given.shape}")
        session: VideoSession = inference_state["session"]
        with self._full_precision():
            session.prompt(frame_idx, obj_id, mask=fitted(given, session.video.size_hw))
        return self._frame(inference_state, frame_idx)

    def propagate_in_video_preflight(self, inference_state: State) -> None:
        """Check that something was prompted; `propagate_in_video` calls it.

        Raises:
            MissingPromptError: nothing was.
        """
        session: VideoSession = inference_state["session"]
        if not session.prompted_frames:
            raise MissingPromptError(
                "no object has a prompt: call add_new_points_or_box or add_new_mask first"
            )
        inference_state["tracking_has_started"] = True

    def propagate_in_video(
        self,
        inference_state: State,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,  # noqa: FBT001, FBT002
    ) -> Iterator[FrameMasks]:
        """Follow all objects through the frames.

        Args:
            inference_state: of `init_state`.
            start_frame_idx: first frame; default: the first one with prompts, also in reverse.
            max_frame_num_to_track: number of frames after the first one; default: all.
            reverse: from later frames to earlier ones; from frame 0 there are none.

        Yields:
            each frame with all objects and their logits (O, 1, H, W) there.

        Raises:
            MissingPromptError: nothing was prompted.
            VideoError: a frame cannot be read.
        """
        self.propagate_in_video_preflight(inference_state)
        session: VideoSession = inference_state["session"]
        count = inference_state["num_frames"]
        start = min(session.prompted_frames) if start_frame_idx is None else int(start_frame_idx)
        steps = count if max_frame_num_to_track is None else int(max_frame_num_to_track)
        if reverse:
            order = range(start, max(start - steps, 0) - 1, -1) if start > 0 else range(0)
        else:
            order = range(start, min(start + steps, count - 1) + 1)
        for index in order:
            with self._full_precision():
                session.video.step(index, reverse=reverse)
            yield self._frame(inference_state, index)

    def clear_all_prompts_in_frame(
        self,
        inference_state: State,
        frame_idx: int,
        obj_id: Hashable,
        need_output: bool = True,  # noqa: FBT001, FBT002
    ) -> FrameMasks | None:
        """Take back an object's prompts of a frame, and its mask there.

        Raises:
            NoObjectError: there is no such object.
        """
        session: VideoSession = inference_state["session"]
        session.clear(frame_idx, obj_id)
        return self._frame(inference_state, frame_idx) if need_output else None

    def remove_object(
        self,
        inference_state: State,
        obj_id: Hashable,
        strict: bool = False,  # noqa: FBT001, FBT002
        need_output: bool = True,  # noqa: FBT001, FBT002
    ) -> tuple[list[Hashable], list[tuple[int, Tensor]]]:
        """Remove an object with all of its masks.

        Args:
            inference_state: of `init_state`.
            obj_id: the object.
            strict: whether an object that is not there is an error.
            need_output: whether masks are returned.

        Returns:
            the objects that are left, and, for each frame in which the object was prompted, their
            logits there.

        Raises:
            NoObjectError: there is no such object.
        """
        session: VideoSession = inference_state["session"]
        try:
            frames = session.remove(obj_id)
        except NoObjectError:
            if strict:
                raise
            return inference_state["obj_ids"], []
        list_objects(inference_state)
        if not need_output or not session.objects:
            return inference_state["obj_ids"], []
        updated = [(index, self._logits(session, index)) for index in sorted(frames)]
        return inference_state["obj_ids"], updated

    def reset_state(self, inference_state: State) -> None:
        """Remove all objects."""
        session: VideoSession = inference_state["session"]
        for name in list(session.objects):
            session.remove(name)
        list_objects(inference_state)
        inference_state["tracking_has_started"] = False

    def _frame(self, inference_state: State, index: int) -> FrameMasks:
        list_objects(inference_state)
        logits = self._logits(inference_state["session"], index)
        return index, inference_state["obj_ids"], logits

    def _logits(self, session: VideoSession, index: int) -> Tensor:
        return torch.from_numpy(session.logits(index)).to(self.device)

    def _video_predictor(self) -> VideoPredictor:
        """A predictor with the current weights, which is created anew when these have changed."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        # Tensors made in inference mode have no versions, but are not trained either.
        versions = [0 if one.is_inference() else one._version for one in tensors]  # noqa: SLF001
        weights = (self.device, [id(one) for one in tensors], versions)
        if self._ready is None or self._ready[0] != weights:
            backend = create_backend(self.network, device=str(self.device))
            predictor = Predictor(self.network, model_name=self.model_name, backend=backend)
            self._ready = (weights, VideoPredictor(predictor))
        return self._ready[1]

    def _full_precision(self) -> AbstractContextManager[Any]:
        """Leave autocast: backends and trackers choose their precision themselves."""
        return torch.autocast(self.device.type, enabled=False)


def list_objects(state: State) -> None:
    """Bring the lists of a state up to date, in place."""
    names = list(state["session"].objects)
    state["obj_ids"][:] = names
    state["obj_id_to_idx"].clear()
    state["obj_id_to_idx"].update((name, row) for row, name in enumerate(names))
    state["obj_idx_to_id"].clear()
    state["obj_idx_to_id"].update(enumerate(names))


def read_prompt(
    points: npt.ArrayLike | None, labels: npt.ArrayLike | None, box: npt.ArrayLike | None
) -> tuple[FloatArray | None, IntArray | None, FloatArray | None]:
    """Read the prompt of one object: points (N, 2), labels (N,) and the corners (2, 2) of a box.

    Raises:
        VideoPromptError: shapes are wrong, or it is for several objects.
    """
    corners = None if box is None else as_numbers(box)
    if corners is not None:
        if corners.size != 4:
            raise VideoPromptError(f"box must be (4,), of one object; got {corners.shape}")
        corners = corners.reshape(2, 2)
    if points is None or labels is None:
        return None, None, corners
    xy, kinds = as_numbers(points), as_numbers(labels).astype(np.int64)
    if xy.ndim == 3 and len(xy) == 1 and kinds.ndim == 2:
        xy, kinds = xy[0], kinds[0]
    if xy.ndim != 2 or xy.shape[1:] != (2,) or kinds.shape != xy.shape[:1]:
        raise VideoPromptError(
            "points must be (N, 2) with N labels, of one object; got"
            f" {np.shape(points)} and {np.shape(labels)}"
        )
    first, last = xy[kinds == TOP_LEFT], xy[kinds == BOTTOM_RIGHT]
    if corners is None and len(first) == len(last) == 1:
        corners = np.concatenate([first, last])
    is_point = (kinds != TOP_LEFT) & (kinds != BOTTOM_RIGHT)
    if not is_point.any():
        return None, None, corners
    return xy[is_point], kinds[is_point], corners


def as_numbers(values: npt.ArrayLike | Tensor) -> FloatArray:
    """A tensor, an array or lists as an array of numbers."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, np.float64)


def fitted(mask: BoolArray, size_hw: tuple[int, int]) -> BoolArray:
    """A mask of another size at that of the frames: pixels that it covers by half."""
    if mask.shape == tuple(size_hw):
        return mask
    soft = nn.functional.interpolate(
        torch.from_numpy(mask)[None, None].float(), size_hw, mode="bilinear", antialias=True
    )
    return np.asarray(soft[0, 0].numpy() >= 0.5)
