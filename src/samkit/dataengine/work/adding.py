"""Masks that no annotator has made, onto an image: imported ones, and automatic ones.

Each mask is known by its content, so that adding it again adds nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.schema import AnnotationRow, ImageRow
from samkit.dataengine.values import NewEvent, Stage
from samkit.dataengine.work.annotations import insert_annotation
from samkit.dataengine.work.masks import CheckedMask, check_mask, check_score
from samkit.dataengine.work.projects import add_class
from samkit.errors import StoreError


@dataclass(frozen=True, kw_only=True)
class MadeMask:
    """A mask as it comes, not checked yet.

    Attributes:
        segmentation: as in COCO.
        class_name: None without a class.
        score: predicted IoU, None if it is not known.
        stability: None if it was not measured.
        stage: that it comes from.
        event: what it comes from. Each has one: on the page, a mask without any would be taken for
            the answer to the prompts that correct it later.
    """

    segmentation: Any
    class_name: str | None
    score: float | None
    stability: float | None
    stage: Stage
    event: NewEvent


@dataclass(frozen=True, kw_only=True)
class AddedMasks:
    """What became of the masks of one image.

    Attributes:
        num_added: new ones.
        num_labelled: of these, masks with a class.
        num_known: that the image has had already.
        faults: of masks that were left out, one line each.
    """

    num_added: int
    num_labelled: int
    num_known: int
    faults: tuple[str, ...]


def add_missing_classes(
    store: Store, project_id: int, names: Iterable[str | None], class_ids: dict[str, int]
) -> list[str]:
    """Add those classes that a project does not have yet; each is a transaction.

    Args:
        store: where.
        project_id: of the project.
        names: of classes that are needed; None needs none.
        class_ids: numbers of known classes by name, which those of new ones are put into.

    Returns:
        faults of names that cannot be a class's, one line each.
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
    """Add masks to an image, in the transaction of a session.

    Args:
        session: that holds the image's row locked.
        store: where.
        image: the image's row.
        masks: to be added; those that are malformed, empty or of another size are left out.
        user_id: who counts as their maker.
        class_ids: numbers of the project's classes by name.
        origin: a word for where they come from, within which masks are known again.
    """
    query = select(AnnotationRow.request_id).where(AnnotationRow.image_id == image.id)
    here = set(session.scalars(query))
    seen: Counter[str] = Counter()
    faults: list[str] = []
    added = labelled = known = 0
    for number, mask in enumerate(masks, start=1):
        try:
            checked = _check(mask, (image.height, image.width), class_ids)
        except StoreError as error:
            faults.append(f"mask {number}: {error}")
            continue
        # Masks that come twice at once are two.
        key = _key(checked.counts, mask.class_name)
        seen[key] += 1
        request_id = f"{origin}:{key}:{seen[key]}"
        if request_id in here:
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
            stage=mask.stage,
            score=mask.score,
            stability=mask.stability,
            events=[mask.event],
        )
        added += 1
        labelled += mask.class_name is not None
    return AddedMasks(num_added=added, num_labelled=labelled, num_known=known, faults=tuple(faults))


def _check(mask: MadeMask, size_hw: tuple[int, int], class_ids: dict[str, int]) -> CheckedMask:
    check_score("score", mask.score)
    check_score("stability", mask.stability)
    if mask.class_name is not None and mask.class_name not in class_ids:
        raise StoreError(f"no class {mask.class_name!r:.40}")
    return check_mask(mask.segmentation, size_hw)


def _key(counts: str, class_name: str | None) -> str:
    text = f"{class_name}\n{counts}" if class_name is not None else f"\n\n{counts}"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:40]
