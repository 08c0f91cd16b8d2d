"""Models that learn while the server runs: which one answers where, and the learner's processes."""

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
    Project,
    Store,
    all_items,
    count_finished_masks,
    count_images,
    count_next_images,
    latest_image_id,
    learned_from,
    list_projects,
    model_version,
    read_decoder,
    serving_version,
    serving_versions,
)
from samkit.errors import SamkitError
from samkit.web.embedder import Embedder, ServedModel, warm_up

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0
STOP_S = 10.0  # for a learner to save its training
RETRY_MASKS = 50  # that are finished before what failed is tried again


class ServedModels:
    """Which model answers in each project, as the store says; followed on a thread.

    A model that was replaced stays as long as a draft goes on with it.
    """

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store, self._embedder = store, embedder
        self._learned: Mapping[int, ServedModel] = {}  # by project
        self._failed: set[int] = set()  # versions that cannot be loaded

    def served(self, project_id: int) -> ServedModel:
        """The model that answers in a project now.

        Raises:
            SamkitError: the server's own model is not loaded, or could not be.
        """
        return self._learned.get(project_id) or self._embedder.served()

    def refresh(self) -> None:
        """Load models that answer since the last time, and change over to them at once."""
        if self._embedder.model is None:
            return
        own = self._embedder.served()
        loaded = {one.version.id: one for one in self._learned.values()}
        learned: dict[int, ServedModel] = {}
        for project_id, version_id in serving_versions(self._store).items():
            if version_id == own.version.id or version_id in self._failed:
                continue
            if version_id not in loaded:
                model = self._load(own, version_id)
                if model is None:
                    self._failed.add(version_id)
                    continue
                loaded[version_id] = model
            learned[project_id] = loaded[version_id]
        self._learned = learned  # at once: a prompt sees the old one or the new one

    def _load(self, own: ServedModel, version_id: int) -> ServedModel | None:
        """Load a learned version; None if that is not possible, and the log says why."""
        from samkit.learning import unpack_decoder

        try:
            version = model_version(self._store, version_id)
            content = read_decoder(self._store, version_id)
            if content is None:
                logger.warning(
                    "%s answers with the server's own model: the store has no decoder of version"
                    " %d, and it is not --model",
                    version.name,
                    version_id,
                )
                return None
            network = unpack_decoder(content, own.predictor.model)
            predictor = own.predictor.with_decoder(network, model_name=version.name)
            warm_up(predictor)
        except SamkitError:
            logger.exception("model version %d cannot be loaded", version_id)
            return None
        logger.info("%s answers from now on", version.name)
        return replace(own, predictor=predictor, version=version)


Kind: TypeAlias = Literal["learn", "prefill", "choose"]


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
    """What prefilled masks and chosen images depend on: they are made once for each state."""

    version_id: int | None
    latest_image: int
    target_precision: float


@dataclass(frozen=True)
class _Attempt:
    """The last time that a project's images were prefilled or chosen."""

    state: _State
    num_finished: int
    failed: bool = False


class LearnerProcesses:
    """Starts processes that learn, prefill masks and choose images; one at a time.

    They are at low priority. Prefilling and choosing end when a learner is due, and go on after it;
    they begin anew when another version answers. A process that is killed is started again, and
    goes on with what it had done.
    """

    def __init__(self, store: Store, options: Sequence[str]) -> None:
        """Prepare; nothing is started yet.

        Args:
            options: options of `samkit engine learn`, `prefill` and `choose` that name the model.
        """
        self._store, self._options = store, options
        self._child: _Child | None = None
        self._asked: list[int] = []
        # Finished masks when a project's learner ended without a model, so that it is not started
        # again and again.
        self._tried: dict[int, int] = {}
        self._attempts: dict[tuple[Kind, int], _Attempt] = {}
        self._lock = threading.Lock()

    def ask(self, project_id: int) -> None:
        """Learn as soon as possible, however few masks are new."""
        with self._lock:
            if project_id not in self._asked:
                self._asked.append(project_id)

    def ask_prefill(self, project_id: int) -> None:
        """Prefill the waiting images of a project, also if that was stopped or has failed."""
        with self._lock:
            self._attempts.pop(("prefill", project_id), None)

    def stop_work(self, project_id: int) -> None:
        """Stop what is being done for a project, until it is asked for or there is more to do."""
        with self._lock:
            if project_id in self._asked:
                self._asked.remove(project_id)
            child = self._child
            if child is not None and child.project.id == project_id:
                _tell_to_end(child, "by a person")

    def working_on(self, project_id: int) -> str | None:
        """What is being done for a project: "learn", "prefill" or "choose"; None for nothing."""
        child = self._child
        if child is None or child.project.id != project_id:
            return "waiting" if project_id in self._asked else None
        return child.what

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
        for project in projects.values():
            if project.learning.choose_next and self._choice_is_due(project):
                return "choose", project
            if project.learning.prefill and self._is_due("prefill", project):
                return "prefill", project
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
        """Whether a process that prefills or chooses must end."""
        if child.what == "learn" or child.stopped is not None:
            return False
        projects = {one.id: one for one in self._projects()}
        project = projects.get(child.project.id)
        if project is None or self._due_to_learn(projects) is not None:
            return True
        wanted = {"prefill": project.learning.prefill, "choose": project.learning.choose_next}
        return not wanted[child.what] or child.version_id != serving_version(
            self._store, project.id
        )

    def _state(self, project: Project) -> _State:
        return _State(
            version_id=serving_version(self._store, project.id),
            latest_image=latest_image_id(self._store, project.id),
            target_precision=project.learning.target_precision,
        )

    def _projects(self) -> Iterator[Project]:
        return all_items(lambda after: list_projects(self._store, after=after))

    def _num_new(self, project: Project) -> int:
        """Number of masks that were finished since the last model learned, or tried to."""
        finished = count_finished_masks(self._store, project.id)
        before = max(learned_from(self._store, project.id), self._tried.get(project.id, 0))
        return finished - before

    def _start(self, what: Kind, project: Project) -> None:
        command = [sys.executable, "-m", "samkit", "engine", what, "--project", str(project.id)]
        num_finished = count_finished_masks(self._store, project.id)
        state = self._state(project)
        if what == "learn":
            self._tried[project.id] = num_finished
        else:
            self._attempts[what, project.id] = _Attempt(state, num_finished)
        logger.info("%s: %s", project.name, what)
        threads = max(1, (os.cpu_count() or 1) // 2)
        # The address may have a password, which arguments would show to everybody.
        environment = {"SAMKIT_STORE": self._store.address, "OMP_NUM_THREADS": str(threads)}
        # In the server's session: on Linux priorities of processes count only within one.
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--background", *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ | environment,
        )
        self._child = _Child(what, project, state.version_id, process)

    def _ended(self, child: _Child, code: int) -> None:
        self._child = None
        key = (child.what, child.project.id)
        if code and child.stopped is None:
            logger.warning("samkit engine %s ended with status %d", child.what, code)
        if child.stopped == "by a person":
            return
        if child.stopped == "for now" or code < 0:  # or killed: again
            self._tried.pop(child.project.id, None)
            self._attempts.pop(key, None)
        elif child.what == "learn":
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
