"""Which model answers in each project while models learn."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from samkit.dataengine import Store, model_version, read_decoder, serving_versions
from samkit.errors import SamkitError
from samkit.web.embedder import Embedder, ServedModel, warm_up

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

logger = logging.getLogger(__name__)


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
                others = [one.predictor for one in loaded.values()]
                model = self._load(own, version_id, others)
                if model is None:
                    self._failed.add(version_id)
                    continue
                loaded[version_id] = model
            learned[project_id] = loaded[version_id]
        self._learned = learned  # at once: a prompt sees the old one or the new one

    def _load(
        self, own: ServedModel, version_id: int, others: Sequence[Predictor]
    ) -> ServedModel | None:
        """Load a learned version; None if that is not possible, and the log says why."""
        from samkit.learning import open_decoder

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
            predictor = open_decoder(content, own.predictor, others, model_name=version.name)
            warm_up(predictor)
        except SamkitError:
            logger.exception("model version %d cannot be loaded", version_id)
            return None
        logger.info("%s answers from now on", version.name)
        return replace(own, predictor=predictor, version=version)
