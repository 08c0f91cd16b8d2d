"""The processes of models that learn while the server runs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

from samkit.dataengine import (
    Learnt,
    Project,
    Store,
    all_items,
    count_finished_masks,
    count_images,
    count_next_images,
    count_verified_masks,
    encoder_of_version,
    latest_image_id,
    learned_from,
    list_projects,
    offered_images,
    serving_version,
    unstarted_images,
)
from samkit.errors import SamkitError
from samkit.web.workers import start_command

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0
STOP_S = 10.0  # for a learner to save its training
RETRY_MASKS = 50  # that are finished before what failed is tried again
LORA_MASKS = 50  # that are new before the image encoder learns in a project without a number


# What processes do; "lora" learns the image encoder, too.
Kind: TypeAlias = Literal["learn", "lora", "choose", "prefill", "embed"]
COMMANDS: Mapping[Kind, tuple[str, ...]] = {"lora": ("learn", "--lora")}


@dataclass
class _Child:
    """A process that works for a project.

    Attributes:
        version_id: model version that answered when it was started; None for the server's own.
        stopped: why it was told to end; None while it was not.
    """

    what: Kind
    project: Project
    version_id: int | None
    process: subprocess.Popen[bytes]
    stopped: Literal["by a person", "for now"] | None = None


class _State(NamedTuple):
    """What prefilled masks, chosen images and embeddings depend on: made once for each state."""

    version_id: int | None
    latest_image: int
    target_precision: float


@dataclass(frozen=True)
class _Attempt:
    """The last time that a project's images were prefilled, chosen or encoded."""

    state: _State
    num_finished: int
    failed: bool = False


class LearnerProcesses:
    """Starts processes that learn, prefill masks, choose and encode images; one at a time.

    They are at low priority. The others end when a learner is due, and go on after it; they begin
    anew when another version answers. A learner of the image encoder starts when everybody is away,
    and gives way when somebody is back. A process that is killed is started again, and goes on with
    what it had done.
    """

    def __init__(
        self,
        store: Store,
        options: Sequence[str],
        *,
        idle_s: Callable[[], float] = lambda: 0.0,
        most_embedded: int = 0,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            options: options of `samkit engine learn` and the other commands that name the model.
            idle_s: seconds since somebody has worked.
            most_embedded: number of waiting images that are encoded for a new image encoder.
        """
        self._store, self._options = store, options
        self._idle_s, self._most_embedded = idle_s, most_embedded
        self._child: _Child | None = None
        self._asked: list[int] = []
        # Verified masks when a project's learner ended without a model, so that it is not started
        # again and again.
        self._tried: dict[tuple[Kind, int], int] = {}
        self._attempts: dict[tuple[Kind, int], _Attempt] = {}
        self._lock = threading.Lock()

    def ask(self, project_id: int) -> None:
        """Learn as soon as possible, however few masks are new."""
        with self._lock:
            if project_id not in self._asked:
                self._asked.append(project_id)

    def ask_again(self, what: Literal["prefill", "embed"], project_id: int) -> None:
        """Prefill or encode a project's waiting images, also if that was stopped or has failed."""
        with self._lock:
            self._attempts.pop((what, project_id), None)

    def stop_work(self, project_id: int) -> None:
        """Stop what is being done for a project, until it is asked for or there is more to do."""
        with self._lock:
            if project_id in self._asked:
                self._asked.remove(project_id)
            child = self._child
            if child is not None and child.project.id == project_id:
                _tell_to_end(child, "by a person")

    def working_on(self, project_id: int) -> str | None:
        """What is being done for a project, such as "prefill"; None for nothing."""
        child = self._child
        if child is None or child.project.id != project_id:
            return "waiting" if project_id in self._asked else None
        return child.what

    def images_left(self, project_id: int, images_of: Callable[[str], set[str]]) -> int | None:
        """Number of images that are still to be prefilled or encoded; None if that is not done now.

        Args:
            images_of: returns the keys of the images that are cached for an encoder's checksum.
        """
        doing = self.working_on(project_id)
        if doing == "prefill":
            return len(unstarted_images(self._store, project_id))
        version_id = serving_version(self._store, project_id)
        encoder = None if version_id is None else encoder_of_version(self._store, version_id)
        if doing != "embed" or encoder is None:
            return None
        known = images_of(encoder)
        waiting = offered_images(self._store, project_id, limit=self._most_embedded)
        return sum(image.pixels_key not in known for image in waiting)

    def check(self) -> None:
        """End what is done, and start what is due."""
        child = self._child
        if child is not None:
            code = child.process.poll()
            if code is None:
                if self._gives_way(child):
                    with self._lock:
                        _tell_to_end(child, "for now")
                return
            self._ended(child, code)
        due = self._due()
        if due is not None:
            self._start(*due)

    def stop(self) -> None:
        """End the process; a training in progress is saved and resumed by the next one."""
        if self._child is None:
            return
        process = self._child.process
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._child = None

    def _due(self) -> tuple[Kind, Project] | None:
        projects = {one.id: one for one in self._projects()}
        learning = self._due_to_learn(projects)
        if learning is not None:
            with self._lock:
                if learning.id in self._asked:
                    self._asked.remove(learning.id)
            return "learn", learning
        with_encoder = self._due_to_learn_encoder(projects)
        if with_encoder is not None:
            return "lora", with_encoder
        for project in projects.values():
            if project.learning.choose_next and self._choice_is_due(project):
                return "choose", project
            if project.learning.prefill and self._is_due("prefill", project):
                return "prefill", project
        for project in projects.values():
            if self._has_own_encoder(project) and self._is_due("embed", project):
                return "embed", project
        return None

    def _due_to_learn(self, projects: Mapping[int, Project]) -> Project | None:
        with self._lock:
            self._asked = [one for one in self._asked if one in projects]
            if self._asked:
                return projects[self._asked[0]]
        for project in projects.values():
            every = project.learning.every_masks
            if every and self._num_new(project) >= every:
                return project
        return None

    def _due_to_learn_encoder(self, projects: Mapping[int, Project]) -> Project | None:
        for project in projects.values():
            learning = project.learning
            least = learning.every_masks or LORA_MASKS
            if learning.lora and self._is_away(project) and self._num_new(project, "lora") >= least:
                return project
        return None

    def _is_away(self, project: Project) -> bool:
        """Whether nobody has worked for the time that the project sets."""
        return self._idle_s() >= 60 * project.learning.away_minutes

    def _has_own_encoder(self, project: Project) -> bool:
        """Whether waiting images are to be encoded for the version that answers."""
        version_id = serving_version(self._store, project.id)
        return (
            self._most_embedded > 0
            and version_id is not None
            and encoder_of_version(self._store, version_id) is not None
        )

    def _is_due(self, what: Kind, project: Project) -> bool:
        """Whether what it depends on has changed; or it has failed, and there are more masks."""
        before = self._attempts.get((what, project.id))
        if before is None or before.state != self._state(project):
            return True
        if not before.failed:
            return False
        return count_finished_masks(self._store, project.id) >= before.num_finished + RETRY_MASKS

    def _choice_is_due(self, project: Project) -> bool:
        """Whether the model is another one, images were added, or all that were chosen are done."""
        if self._is_due("choose", project):
            return True
        if count_next_images(self._store, project.id):
            return False
        num_finished = self._attempts["choose", project.id].num_finished
        return (
            count_finished_masks(self._store, project.id) != num_finished
            and count_images(self._store, project.id)["none"].num_images > 0
        )

    def _gives_way(self, child: _Child) -> bool:
        """Whether a process must end for now: all but those that learn the decoder alone."""
        if child.what == "learn" or child.stopped is not None:
            return False
        projects = {one.id: one for one in self._projects()}
        project = projects.get(child.project.id)
        if project is None or self._due_to_learn(projects) is not None:
            return True
        if child.version_id != serving_version(self._store, project.id):
            # A learner of the encoder may just have been promoted, and ends by itself.
            return child.what != "lora"
        if child.what == "lora":
            return not project.learning.lora or not self._is_away(project)
        if self._due_to_learn_encoder(projects) is not None:
            return True
        wanted = {
            "choose": project.learning.choose_next,
            "prefill": project.learning.prefill,
            "embed": True,
        }
        return not wanted[child.what]

    def _state(self, project: Project) -> _State:
        return _State(
            version_id=serving_version(self._store, project.id),
            latest_image=latest_image_id(self._store, project.id),
            target_precision=project.learning.target_precision,
        )

    def _projects(self) -> Iterator[Project]:
        return all_items(lambda after: list_projects(self._store, after=after))

    def _num_new(self, project: Project, what: Literal["learn", "lora"] = "learn") -> int:
        """Number of masks that were finished since the last model learned, or tried to."""
        finished = count_verified_masks(self._store, project.id)
        learns: Learnt | None = "lora" if what == "lora" else None
        learned = learned_from(self._store, project.id, learns=learns)
        return finished - max(learned, self._tried.get((what, project.id), 0))

    def _start(self, what: Kind, project: Project) -> None:
        words = [*COMMANDS.get(what, (what,)), "--project", str(project.id)]
        if what == "embed":
            words += ["--limit", str(self._most_embedded)]
        num_finished = count_finished_masks(self._store, project.id)
        state = self._state(project)
        if what in ("learn", "lora"):
            self._tried[what, project.id] = count_verified_masks(self._store, project.id)
        else:
            self._attempts[what, project.id] = _Attempt(state, num_finished)
        logger.info("%s: %s", project.name, what)
        cores = os.cpu_count() or 1
        threads = cores if what == "lora" else max(1, cores // 2)  # nobody else needs them
        command = [sys.executable, "-m", "samkit", "engine", *words, "--background", *self._options]
        process = start_command(self._store, command, threads=threads)
        self._child = _Child(what, project, state.version_id, process)

    def _ended(self, child: _Child, code: int) -> None:
        self._child = None
        key = (child.what, child.project.id)
        if code and child.stopped is None:
            logger.warning("samkit engine %s ended with status %d", child.what, code)
        if child.stopped == "by a person":
            return
        if child.stopped == "for now" or code < 0:  # or killed: again
            self._tried.pop(key, None)
            self._attempts.pop(key, None)
        elif child.what in ("learn", "lora"):
            # There may be a confidence now, even if no other version answers.
            self._attempts.pop(("prefill", child.project.id), None)
            self._attempts.pop(("choose", child.project.id), None)
        elif code and key in self._attempts:  # it may have been asked for again
            self._attempts[key] = replace(self._attempts[key], failed=True)


def _tell_to_end(child: _Child, why: Literal["by a person", "for now"]) -> None:
    """Interrupt a process, once: it gives back its image, or saves its training."""
    if child.stopped is None:
        child.stopped = why
        child.process.send_signal(signal.SIGINT)


class Ticker:
    """Calls a function again and again on a thread, until it is stopped."""

    def __init__(self, call: Callable[[], None], *, every_s: float) -> None:
        self._function, self._every_s = call, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it after the current call."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            self._call()

    def _call(self) -> None:
        try:
            self._function()
        except SamkitError as error:  # such as a database that is not there now
            logger.warning("%s", error)
        except Exception:  # the server goes on
            logger.exception("in the background")
