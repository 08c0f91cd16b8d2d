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

from samkit.dataengine import (
    Project,
    Store,
    all_items,
    count_finished_masks,
    learned_from,
    list_projects,
    model_version,
    read_decoder,
    serving_versions,
)
from samkit.errors import SamkitError
from samkit.web.embedder import Embedder, ServedModel, warm_up

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0
STOP_S = 10.0  # for a learner to save its training
IMAGES_AT_ONCE = 20  # that are prefilled before the next round is considered


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


@dataclass
class _Child:
    """A process that works for a project."""

    what: str
    process: subprocess.Popen[bytes]


class LearnerProcesses:
    """Starts a learner when a project has enough new masks; one process at a time.

    The learner is a process of its own, at low priority. If it is killed, it is started again and
    goes on with its training.
    """

    def __init__(self, store: Store, options: Sequence[str]) -> None:
        """Prepare; nothing is started yet.

        Args:
            options: options of `samkit engine learn` and `prefill` that name the model.
        """
        self._store, self._options = store, options
        self._child: _Child | None = None
        self._project_id: int | None = None
        self._asked: list[int] = []
        self._prefill: list[int] = []
        # Finished masks when a project's learner ended without a model, so that it is not started
        # again and again.
        self._tried: dict[int, int] = {}
        self._lock = threading.Lock()

    def ask(self, project_id: int) -> None:
        """Learn as soon as possible, however few masks are new."""
        with self._lock:
            if project_id not in self._asked:
                self._asked.append(project_id)

    def working_on(self, project_id: int) -> str | None:
        """What is being done for a project: "learn" or "prefill"; None for nothing."""
        child = self._child
        if child is None or self._project_id != project_id:
            return "waiting" if project_id in self._asked else None
        return child.what

    def check(self) -> None:
        """End what is done, and start what is due."""
        if self._child is not None:
            code = self._child.process.poll()
            if code is None:
                return
            self._ended(self._child, code)
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

    def _due(self) -> tuple[str, Project] | None:
        projects = {one.id: one for one in self._projects()}
        with self._lock:
            while self._asked:
                project = projects.get(self._asked.pop(0))
                if project is not None:
                    return "learn", project
        for project in projects.values():
            every = project.learning.every_masks
            if every and self._num_new(project) >= every:
                return "learn", project
        while self._prefill:
            project = projects.get(self._prefill.pop(0))
            if project is not None and project.learning.prefill:
                return "prefill", project
        return None

    def _projects(self) -> Iterator[Project]:
        return all_items(lambda after: list_projects(self._store, after=after))

    def _num_new(self, project: Project) -> int:
        """Number of masks that were finished since the last model learned, or tried to."""
        finished = count_finished_masks(self._store, project.id)
        before = max(learned_from(self._store, project.id), self._tried.get(project.id, 0))
        return finished - before

    def _start(self, what: str, project: Project) -> None:
        command = [sys.executable, "-m", "samkit", "engine", what, "--project", str(project.id)]
        if what == "prefill":
            command += ["--limit", str(IMAGES_AT_ONCE)]
        if what == "learn":
            self._tried[project.id] = count_finished_masks(self._store, project.id)
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
        self._child, self._project_id = _Child(what, process), project.id

    def _ended(self, child: _Child, code: int) -> None:
        assert self._project_id is not None
        if code:
            logger.warning("samkit engine %s ended with status %d", child.what, code)
        if code < 0:  # killed: again
            self._tried.pop(self._project_id, None)
        elif child.what == "learn":
            self._prefill.append(self._project_id)
        self._child = self._project_id = None


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
