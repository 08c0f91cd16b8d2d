"""Imported and automatic masks: adding them to an image.

Masks are identified by their content, so that adding one twice has no effect.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.schema import AnnotationRow, ImageRow
from samkit.dataengine.values import NewEvent, Stage
from samkit.dataengine.work.annotations import insert_annotation
from samkit.dataengine.work.classes import add_class
from samkit.dataengine.work.labelling import AttributeValue
from samkit.dataengine.work.masks import CheckedMask, check_mask, check_score
from samkit.errors import StoreError


@dataclass(frozen=True, kw_only=True)
class MadeMask:
    """A mask to add, not validated yet.

    Attributes:
        segmentation: RLE or polygons as in COCO.
        class_name: None without a class.
        score: predicted IoU; None if unknown.
        stability: stability score; None if not measured.
        stage: data-engine stage that the mask comes from.
        where: names it in faults; by default, its place among the masks.
        attributes: values by name, checked already.
        event: the mask's origin. It is required: the page would take a mask without events for the
            answer to the prompts that correct it later.
    """

    segmentation: Any
    class_name: str | None
    score: float | None
    stability: float | None
    stage: Stage
    event: NewEvent
    where: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AddedMasks:
    """Result of adding masks to one image.

    Attributes:
        num_added: new masks.
        num_labelled: new masks with a class.
        num_known: masks that were added before.
        skipped: why masks were skipped, by their index.
    """

    num_added: int
    num_labelled: int
    num_known: int
    skipped: Mapping[int, str]

    @property
    def faults(self) -> tuple[str, ...]:
        """One line for each mask that was skipped."""
        return tuple(self.skipped.values())


def add_missing_classes(
    store: Store, project_id: int, names: Iterable[str | None], class_ids: dict[str, int]
) -> list[str]:
    """Add the classes that a project does not have yet, each in its own transaction.

    Args:
        names: required classes; None is ignored.
        class_ids: ids of known classes by name; updated in place with the new ones.

    Returns:
        one line for each name that is not valid.
    """
    faults = []
    for name in dict.fromkeys(names):
        if name is None or name in class_ids:
            continue
        try:
            class_ids[name] = add_class(store, project_id, name).id
        except StoreError as error:
            faults.append(str(error))
    return faults


def add_made_masks(
    session: Session,
    store: Store,
    image: ImageRow,
    masks: Sequence[MadeMask],
    *,
    user_id: int,
    class_ids: dict[str, int],
    origin: str,
) -> AddedMasks:
    """Add masks to an image, in the session's transaction.

    Args:
        session: session that has locked the image's row.
        masks: masks to add; malformed or empty ones and those of another size are skipped.
        user_id: the user to record as their author.
        class_ids: ids of the project's classes by name.
        origin: source of the masks; duplicates are detected within one origin.
    """
    query = select(AnnotationRow.request_id).where(AnnotationRow.image_id == image.id)
    existing = set(session.scalars(query))
    seen: Counter[str] = Counter()
    skipped: dict[int, str] = {}
    added = labelled = known = 0
    for index, mask in enumerate(masks):
        try:
            checked = _check(mask, (image.height, image.width), class_ids)
            scores = [check_score("score", mask.score), check_score("stability", mask.stability)]
        except StoreError as error:
            skipped[index] = f"{mask.where or f'mask {index + 1}'}: {error}"
            continue
        # Equal masks within one call count as separate masks.
        key = _key(checked.counts, mask.class_name)
        seen[key] += 1
        request_id = f"{origin}:{key}:{seen[key]}"
        if request_id in existing:
            known += 1
            continue
        insert_annotation(
            session,
            store,
            image,
            checked,
            user_id=user_id,
            request_id=request_id,
            class_id=None if mask.class_name is None else class_ids[mask.class_name],
            attributes=mask.attributes,
            stage=mask.stage,
            score=scores[0],
            stability=scores[1],
            events=[mask.event],
        )
        added += 1
        labelled += mask.class_name is not None
    return AddedMasks(num_added=added, num_labelled=labelled, num_known=known, skipped=skipped)


def _check(mask: MadeMask, size_hw: tuple[int, int], class_ids: dict[str, int]) -> CheckedMask:
    if mask.class_name is not None and mask.class_name not in class_ids:
        raise StoreError(
            f"the name of its class, {mask.class_name!a:.60}, is empty, too long, or has characters"
            " that are not printable"
        )
    return check_mask(mask.segmentation, size_hw)


def _key(counts: str, class_name: str | None) -> str:
    text = f"{class_name}\n{counts}" if class_name is not None else f"\n\n{counts}"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:40]
