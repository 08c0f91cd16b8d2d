"""Exchange of videos' tracks with other programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, cast, get_args

import numpy as np
from PIL import Image

from samkit.annotations import open_clips
from samkit.dataengine.database import Store
from samkit.dataengine.exchange.export_folder import export_folder
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find_locked
from samkit.dataengine.schema import VideoRow
from samkit.dataengine.values import REVIEWS, Review, all_items, check_choice
from samkit.dataengine.video import (
    FrameKind,
    StoredVideo,
    Track,
    frame_names,
    list_tracks,
    list_videos,
    open_video,
    track_frames,
)
from samkit.dataengine.video.rows import new_frame_row
from samkit.dataengine.video.tracks import free_number, new_track, simplified
from samkit.dataengine.work import (
    Labelling,
    add_missing_classes,
    add_to_labelling,
    get_labelling,
    get_project,
    is_held,
    kind_of,
    list_classes,
)
from samkit.errors import DataError, StoreError
from samkit.files import write_bytes
from samkit.formats import (
    ClipFrame,
    ClipTrack,
    ClipTracks,
    coco_clips,
    cvat_clip,
    davis_label_image,
    davis_objects,
    mot_clip,
    overlapping_frames,
    voc_palette,
    write_png,
)
from samkit.geometry import rle_area
from samkit.video import State

ClipFormat = Literal["coco-video", "cvat-video", "davis", "mot"]
FRAMES_AT_ONCE = 256  # rows in memory while a track is read
JPEG_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class ClipExport:
    """Result of an export.

    Attributes:
        notes: one line for each video whose tracks the format cannot hold as they are.
    """

    num_videos: int
    num_tracks: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClipImport:
    """Result of an import.

    Attributes:
        num_videos: videos that the files had tracks for.
        num_added: new tracks.
        num_known: tracks that the videos had already, mask by mask.
        faults: one line for each thing that was left out.
    """

    num_videos: int
    num_added: int
    num_known: int
    faults: tuple[str, ...]


def export_clips(
    store: Store,
    project_id: int,
    folder: str | os.PathLike[str],
    *,
    file_format: ClipFormat,
    states: Sequence[Review] = REVIEWS,
    copy_frames: bool = False,
) -> ClipExport:
    """Export the tracks of a project's videos, with those of one video at a time in memory.

    Args:
        folder: new, empty, or with an earlier export.
        states: export only videos in these states of review.
        copy_frames: write the frames as JPEG as well, in DAVIS's layout.

    Raises:
        FormatError: the format cannot hold a track.
        OutputError: the folder holds something else, or cannot be written to.
        StoreError: no such project; a video that is copied is missing or has changed.
    """
    check_choice("a format of tracks", file_format, get_args(ClipFormat))
    project = get_project(store, project_id)
    listed = all_items(lambda after: list_videos(store, project_id, after=after))
    videos = tuple(one for one in listed if one.review in states)
    names = clip_names(videos)
    classes = {one.id: one.name for one in list_classes(store, project_id)}
    ordered = list(classes.values())
    notes: list[str] = []
    facts = {"project": project.name, "file_format": file_format}
    num_tracks = 0

    with export_folder(Path(folder), facts) as opened:

        def read_clips() -> Iterator[ClipTracks]:  # one at a time in memory
            nonlocal num_tracks
            for video in videos:
                clip = read_clip(store, video, names[video.id], classes)
                if copy_frames:
                    _copy_frames(store, video, opened.staging / "JPEGImages/480p" / clip.name, clip)
                num_tracks += len(clip.tracks)
                yield clip

        clips, staging = read_clips(), opened.staging
        if file_format == "coco-video":
            _write_coco(staging, clips, ordered)
        elif file_format == "cvat-video":
            _write_cvat(staging, clips, ordered, get_labelling(store, project_id))
        elif file_format == "davis":
            notes += _write_davis(staging, clips)
        else:
            _write_mot(staging, clips, ordered)
    return ClipExport(num_videos=len(videos), num_tracks=num_tracks, notes=tuple(notes))


def clip_names(videos: Sequence[StoredVideo]) -> dict[int, str]:
    """A name for each video that is also a folder's: its path without folders where that is enough.

    Videos that would have the same name get their folders as well.
    """
    short = {one.id: PurePosixPath(one.name).name for one in videos}
    taken = list(short.values())
    return {
        one.id: short[one.id] if taken.count(short[one.id]) == 1 else one.path.replace("/", "--")
        for one in videos
    }


def read_clip(
    store: Store, video: StoredVideo, name: str, classes: Mapping[int, str]
) -> ClipTracks:
    """Read the tracks of a video; those without any frame are left out."""
    tracks = [_read_track(store, video, one, classes) for one in list_tracks(store, video.id)]
    try:
        file_names = [f"{Path(one).stem}.jpg" for one in frame_names(store, video)]
    except StoreError:  # the video is not there any more; its tracks are
        file_names = [f"{index:05d}.jpg" for index in range(video.num_frames)]
    return ClipTracks(
        name=name,
        size_hw=video.size_hw,
        file_names=file_names,
        tracks=tuple(one for one in tracks if one.frames),
        rate=video.rate,
    )


def _read_track(
    store: Store, video: StoredVideo, track: Track, classes: Mapping[int, str]
) -> ClipTrack:
    frames = {}
    for run in track.runs:
        for first in range(run.first, run.last + 1, FRAMES_AT_ONCE):
            last = min(run.last, first + FRAMES_AT_ONCE - 1)
            found = track_frames(store, video.id, first=first, last=last, track_id=track.id)
            for one in found:
                frames[one.frame] = ClipFrame(
                    rle=one.rle, state=one.state, kind=one.kind, score=one.score
                )
    return ClipTrack(
        number=track.number,
        class_name=None if track.class_id is None else classes.get(track.class_id),
        attributes=track.attributes,
        frames=frames,
    )


def _write_coco(folder: Path, clips: Iterable[ClipTracks], classes: Sequence[str]) -> None:
    with (folder / "annotations.json").open("w", encoding="utf-8") as file:
        file.writelines(coco_clips(clips, classes))


def _write_cvat(
    folder: Path, clips: Iterable[ClipTracks], classes: Sequence[str], labelling: Labelling
) -> None:
    for clip in clips:
        specs = [one for name in _attribute_names(clip) if (one := labelling.find(name))]
        write_bytes(folder / f"{clip.name}.xml", cvat_clip(clip, classes, specs).encode())


def _attribute_names(clip: ClipTracks) -> list[str]:
    return sorted({name for one in clip.tracks for at in one.attributes.values() for name in at})


def _write_davis(folder: Path, clips: Iterable[ClipTracks]) -> list[str]:
    notes, objects = [], {}
    for clip in clips:
        objects[clip.name] = {"objects": davis_objects(clip)}
        own = folder / "Annotations/480p" / clip.name
        own.mkdir(parents=True)
        for index, name in enumerate(clip.file_names):
            labels = davis_label_image(clip, index)
            write_png(own / f"{Path(name).stem}.png", labels, palette=voc_palette())
        if count := overlapping_frames(clip):
            notes.append(
                f"{clip.name}: masks overlap in {count} frame{'' if count == 1 else 's'}, where"
                " label images have the smaller one only"
            )
    write_bytes(folder / "meta.json", json.dumps({"videos": objects}, indent=1).encode())
    return notes


def _write_mot(folder: Path, clips: Iterable[ClipTracks], classes: Sequence[str]) -> None:
    for clip in clips:
        for name, text in mot_clip(clip, classes).items():
            path = folder / clip.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, text.encode())


def _copy_frames(store: Store, video: StoredVideo, folder: Path, clip: ClipTracks) -> None:
    folder.mkdir(parents=True)
    source = open_video(store, video)
    try:
        for index, name in enumerate(clip.file_names):
            picture = Image.fromarray(np.ascontiguousarray(source.read(index)))
            picture.save(folder / name, "JPEG", quality=JPEG_QUALITY)
    finally:
        source.close()


def import_clips(
    store: Store,
    project_id: int,
    path: str | os.PathLike[str],
    *,
    user_id: int,
    file_format: str | None = None,
    on_video: Callable[[int], None] = lambda _: None,
) -> ClipImport:
    """Import tracks for videos that the project has, found by their names.

    Classes and attributes that the project lacks are added to it. Tracks get the numbers that they
    have in the file where these are free.

    Args:
        file_format: of `samkit.annotations.CLIP_FORMATS`; None detects it.
        on_video: called with the number of videos that are done.

    Raises:
        DataError: the files are damaged, or have no tracks.
        StoreError: no such project, or the user is no reviewer.
    """
    with store.read() as session:
        acting_user(session, user_id, REVIEWERS)
    adding = _Adding(store, project_id, user_id)
    for clip in open_clips(Path(path), adding.sizes_hw, file_format):
        adding.add(clip)
        on_video(adding.num_videos)
    if not adding.num_videos and not adding.faults:
        raise DataError(f"{path} has no tracks")
    return adding.report()


class _Adding:
    """Adds tracks to the videos of a project, one video after another."""

    def __init__(self, store: Store, project_id: int, user_id: int) -> None:
        self._store, self._project_id, self._user_id = store, project_id, user_id
        self.num_videos = self._num_added = self._num_known = 0
        self.faults: list[str] = []
        videos = tuple(all_items(lambda after: list_videos(store, project_id, after=after)))
        exported = clip_names(videos)
        self._videos = {name: one for one in videos for name in (exported[one.id], one.path)}
        self._shared: set[str] = set()  # names that two videos could have
        short: dict[str, StoredVideo] = {}
        for video in videos:
            path = PurePosixPath(video.path)
            for name in {video.name, path.name, PurePosixPath(video.name).name} - {*self._videos}:
                if short.setdefault(name, video) is not video:
                    self._shared.add(name)
        self._videos |= {name: one for name, one in short.items() if name not in self._shared}
        self._class_ids = {one.name: one.id for one in list_classes(store, project_id)}

    @property
    def sizes_hw(self) -> dict[str, tuple[int, int]]:
        """Size of the frames by the names that a video may have in a file."""
        return {name: video.size_hw for name, video in self._videos.items()}

    def report(self) -> ClipImport:
        return ClipImport(
            num_videos=self.num_videos,
            num_added=self._num_added,
            num_known=self._num_known,
            faults=tuple(self.faults),
        )

    def add(self, clip: ClipTracks) -> None:
        """Add the tracks of a video, each in its own transaction."""
        name = clip.name
        if name not in self._videos and name not in self._shared:
            name = PurePosixPath(name).stem
        video = self._videos.get(name)
        if video is None:
            count = "several videos" if name in self._shared else "no video"
            self.faults.append(f"{clip.name}: the project has {count} of this name")
            return
        if clip.size_hw not in (None, video.size_hw):
            self.faults.append(f"{clip.name}: the video's frames have another size")
            return
        names = [one.class_name for one in clip.tracks]
        self.faults += add_missing_classes(self._store, self._project_id, names, self._class_ids)
        labelling = self._offer_attributes(clip)
        present = [_masks(one) for one in read_clip(self._store, video, clip.name, {}).tracks]
        self.num_videos += 1
        for track in clip.tracks:
            where = f"{clip.name}, track {track.number}"
            if (
                not track.frames
                or not 0 <= min(track.frames) <= max(track.frames) < video.num_frames
            ):
                self.faults.append(f"{where}: its frames are not those of the video")
            elif _masks(track) in present:
                self._num_known += 1
            else:
                try:
                    self._add_track(video, track, labelling)
                    self._num_added += 1
                except StoreError as error:
                    self.faults.append(f"{where}: {error}")

    def _offer_attributes(self, clip: ClipTracks) -> Labelling:
        """Offer the attributes that the project does not have yet."""
        labelling = get_labelling(self._store, self._project_id)
        kinds = {
            name: kind_of(value)
            for track in clip.tracks
            for values in track.attributes.values()
            for name, value in values.items()
            if labelling.find(name) is None
        }
        if not kinds:
            return labelling
        labelling, faults = add_to_labelling(self._store, self._project_id, kinds, set())
        self.faults += faults
        return labelling

    def _add_track(self, video: StoredVideo, track: ClipTrack, labelling: Labelling) -> None:
        attributes = {
            str(frame): labelling.check(values) for frame, values in track.attributes.items()
        }
        with self._store.write() as session:
            row = find_locked(session, VideoRow, video.id, "video")
            if is_held(row, self._store, but_by=self._user_id):
                raise StoreError("somebody is working on the video: import it again later")
            made = new_track(
                session,
                self._store,
                row,
                user_id=self._user_id,
                class_id=self._class_ids.get(track.class_name or ""),
                attributes=simplified(attributes),
                number=free_number(session, row, track.number),
            )
            session.add_all(
                new_frame_row(
                    self._store,
                    made.id,
                    frame,
                    kind=cast("FrameKind", one.kind),
                    state=cast("State", one.state),
                    rle=one.rle,
                    area_px=rle_area(one.rle),
                    score=one.score,
                )
                for frame, one in track.frames.items()
            )


def _masks(track: ClipTrack) -> dict[int, str]:
    """What makes a track the same as another: its masks by frame."""
    return {frame: one.rle["counts"] for frame, one in track.frames.items() if rle_area(one.rle)}
