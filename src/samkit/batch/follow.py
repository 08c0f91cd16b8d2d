"""Tracks of a stored video followed by a job: resumable, with each few frames committed.

    with Store.open("project.db") as store:
        follow_next(store, tracker, worker="me")

What a job has to do is read from the store, and read anew when people change tracks meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from samkit.dataengine import (
    FOLLOW,
    FollowedFrame,
    FollowedTrack,
    Following,
    Job,
    Store,
    begin_following,
    finish_job,
    open_video,
    read_following,
    release_following,
    save_followed,
    take_job,
    track_frame,
)
from samkit.errors import ConflictError, DatabaseError, NothingFoundError, SamkitError
from samkit.geometry import decode_rle
from samkit.video import ObjectResult, Video, VideoAnswer, VideoPredictor

logger = logging.getLogger(__name__)

LEASE_S = 300.0  # until the first frames are stored; the keyframes before are encoded first
FRAMES_AT_ONCE = 8  # in one commit
COMMIT_S = 1.0  # at most between two commits, if there is anything to store
MAX_KEYFRAMES = 16  # of a track from which it is followed: the nearest ones
MAX_STEPS = 1000  # without anything to store between two signs of life


def follow_next(store: Store, tracker: VideoPredictor, *, worker: str) -> Job | None:
    """Do the oldest job that waits; None if there is none.

    A job that cannot be done fails with one line; one that was stopped, or that another worker has
    taken over, ends as it is. If the process is told to end, the job waits for another one.

    Args:
        worker: names this process, for whoever sees that it is gone.

    Raises:
        DatabaseError: the store cannot be used.
    """
    job = take_job(store, kinds=(FOLLOW,), lease_s=LEASE_S)
    if job is None:
        return None
    try:
        begin_following(store, job, worker)
        follow_job(store, job, tracker)
        finish_job(store, job)
    except ConflictError as error:
        logger.info("%s", error)
    except DatabaseError:
        raise
    except (SamkitError, OSError) as error:
        try:
            finish_job(store, job, error=" ".join(str(error).split()))
        except ConflictError as ended:
            logger.info("%s", ended)
    except KeyboardInterrupt:
        release_following(store, worker)
        raise
    return job


def follow_job(
    store: Store,
    job: Job,
    tracker: VideoPredictor,
    *,
    on_commit: Callable[[int], None] = lambda _: None,
) -> None:
    """Follow the tracks of a job to its end.

    Args:
        on_commit: called with the next frame when results were stored.

    Raises:
        ConflictError: the job was stopped, or another worker has it; the video has changed.
        VideoError: a frame cannot be read.
    """
    while True:
        following = read_following(store, job)
        with tracker.open_source(
            open_video(store, following.video), non_overlapping=following.non_overlapping
        ) as video:
            try:
                if _Run(store, job, following, video, on_commit).is_completed():
                    return
            except _ChangedError:
                logger.info("%s: tracks were changed, and are read anew", following.video.path)


class _ChangedError(Exception):
    """People have changed tracks since they were read."""


@dataclass(kw_only=True)
class _Pending:
    """Results that are not stored yet."""

    frames: list[FollowedFrame] = field(default_factory=list)
    num_steps: int = 0
    since: float = field(default_factory=time.monotonic)

    @property
    def is_full(self) -> bool:
        if self.num_steps >= (FRAMES_AT_ONCE if self.frames else MAX_STEPS):
            return True
        return bool(self.frames) and time.monotonic() - self.since > COMMIT_S


class _Run:
    """A job from where it is to its end, or until people change tracks."""

    def __init__(
        self,
        store: Store,
        job: Job,
        following: Following,
        video: Video,
        on_commit: Callable[[int], None],
    ) -> None:
        self._store, self._job, self._following = store, job, following
        self._video, self._on_commit = video, on_commit
        self._shown: dict[int, set[int]] = {}  # frames by track whose mask the video was given

    def is_completed(self) -> bool:
        """Follow; False if people have changed tracks, whose state must be read anew."""
        reverse = self._following.reverse
        pending = _Pending()
        at = self._following.start
        for at in self._indices():
            due = [one for one in self._following.tracks if one.is_due(at, reverse=reverse)]
            if due:
                for track in due:
                    self._show(track, at)
                pending.frames += self._followed(due, at)
            pending.num_steps += 1
            if pending.is_full:
                if not self._commit(pending, at - 1 if reverse else at + 1):
                    return False
                pending = _Pending()
        return self._commit(pending, self._following.stop)

    def _indices(self) -> Iterator[int]:
        step = -1 if self._following.reverse else 1
        yield from range(self._following.start, self._following.stop, step)

    def _followed(self, due: list[FollowedTrack], index: int) -> list[FollowedFrame]:
        reverse = self._following.reverse
        answer = self._video.step(index, reverse=reverse)
        self._video.forget_results(before=index - 1, after=index + 1)
        found = []
        for track in due:
            result = answer.of(track.number)
            source = track.anchor(index, reverse=reverse)
            assert source is not None
            found.append(
                FollowedFrame(
                    track_id=track.id,
                    frame=index,
                    state=result.state,
                    rle=result.rle,
                    score=result.score,
                    source=source,
                )
            )
        return found

    def _commit(self, pending: _Pending, at: int) -> bool:
        version = self._following.video.version
        stored = save_followed(self._store, self._job, version, pending.frames, at=at)
        if stored:
            self._on_commit(at)
        return stored

    def _show(self, track: FollowedTrack, index: int) -> None:
        """Give the video what a track is followed from into a frame, unless it has it."""
        reverse = self._following.reverse
        anchor = track.anchor(index, reverse=reverse)
        assert anchor is not None
        shown = self._shown.setdefault(track.id, set())
        if anchor in shown:
            return
        if shown:
            self._prompt(track, anchor)
            return
        passed = [at for at in track.keyframes if (at > anchor if reverse else at < anchor)]
        for at in [*sorted(passed, reverse=reverse)[-MAX_KEYFRAMES + 1 :], anchor]:
            self._prompt(track, at)
        self._resume(track, index + 1 if reverse else index - 1)

    def _prompt(self, track: FollowedTrack, index: int) -> None:
        self._shown[track.id].add(index)
        known = track_frame(self._store, track.id, index)
        if known is None or not known.area_px:
            raise _ChangedError
        try:
            self._video.prompt(index, object_id=track.number, mask=decode_rle(known.rle))
        except NothingFoundError as error:
            raise NothingFoundError(f"track {track.number}: {error}") from error

    def _resume(self, track: FollowedTrack, before: int) -> None:
        """Put back the result of the frame before, from which an earlier run goes on."""
        known = track_frame(self._store, track.id, before) if before in track.sources else None
        if known is None:
            return
        result = ObjectResult(rle=known.rle, score=known.score or 0.0, state=known.state)
        size_hw = self._following.video.size_hw
        answer = VideoAnswer(
            index=before, object_ids=(track.number,), results=(result,), size_hw=size_hw
        )
        self._video.restore([answer], reverse=self._following.reverse)
