"""Verdicts on images and videos, as the page gets them."""

from collections.abc import Iterable

from samkit.dataengine import Page, Store, Verdict, user_names
from samkit.web.schemas import VerdictOut


def verdicts_page(store: Store, verdicts: Iterable[Verdict]) -> Page[VerdictOut]:
    """All verdicts, with people's names, on one page."""
    names = user_names(store)
    found = tuple(
        VerdictOut(
            user_id=one.user_id,
            user_name=names[one.user_id],
            verdict=one.verdict,
            comment=one.comment,
            at=one.at,
        )
        for one in verdicts
    )
    return Page(items=found, next_after=None)
