"""Masks of everything on the open image: accepted, corrected and rejected by keys."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from samkit.batch import prelabel_images
from samkit.dataengine import Store, annotation_events, list_annotations
from samkit.geometry import encode_rle
from samkit.types import Masks

from .conftest import SIDE, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def farm(tmp_path_factory, plain_backend):
    """A server for this module."""
    with serving(tmp_path_factory.mktemp("farm")) as server:
        yield server


@pytest.fixture
def ann(person, farm):
    return person("ann", on=farm)


def masks_of(server, number):
    with Store.open(server.where) as store:
        return list_annotations(store, number)


def start(one):
    """Ask for proposals, and wait until all are there; returns how many."""
    one.press("Shift+a")
    one.page.wait_for_selector(".proposals [title$='proposals']")
    return left(one)


def left(one):
    title = one.page.locator(".proposals .work-title").inner_text()
    return int(re.search(r"of (\d+)", title)[1])


def set_least(one, hundredths):
    """Move the slider, and wait until the bar shows it."""
    one.page.locator(".proposals input[type=range]").fill(str(hundredths / 100))
    expect(one.page.locator(".proposals output")).to_have_text(f"{hundredths / 100:.2f}")


def first_of(one):
    """Lower the slider until there are some; where they begin depends on rounding."""
    for hundredths in range(58, 0, -2):
        set_least(one, hundredths)
        if "of" in one.page.locator(".proposals .work-title").inner_text().split("like")[0]:
            return left(one)
    raise AssertionError("no proposal is alike")


def test_proposals_are_decided_one_by_one(ann, farm):
    ann.open_image(1)
    count = start(ann)
    assert count > 3
    ann.press("Enter")
    ann.wait_until_saved()
    (first,) = masks_of(farm, 1)
    assert (first.stage, left(ann)) == ("assisted-manual", count - 1)
    assert first.score is not None
    with Store.open(farm.where) as store:
        (event,) = annotation_events(store, first.id)
    assert (event.kind, event.data) == ("choose", {"of": "everything"})
    assert event.model_version_id is not None
    ann.press("Delete")
    assert left(ann) == count - 2
    ann.press("Control+z")  # the rejected one is back
    assert left(ann) == count - 1
    ann.press("Control+z")  # and so is the accepted one
    ann.page.wait_for_selector(".masks h2 .count:text-is('0')")
    ann.wait_until_saved()
    assert (masks_of(farm, 1), left(ann)) == ((), count)
    ann.press("n", "Shift+n", "Shift+Enter")  # accepted, and selected
    ann.page.wait_for_selector(".workbar:not(.proposals) .work-title:has-text('Mask')")
    assert not ann.page.locator(".proposals").is_visible()
    ann.press("b")
    ann.drag((5, 5), (30, 5))
    ann.press("Enter")
    ann.page.wait_for_selector(".proposals")
    assert left(ann) == count - 1
    ann.wait_until_saved()
    (corrected,) = masks_of(farm, 1)
    assert (corrected.version, corrected.num_clicks) == (2, 1)
    ann.press("Escape")
    assert not ann.page.locator(".proposals").is_visible()
    again = start(ann)
    ann.press("Enter", "Escape")
    ann.wait_until_saved()
    assert start(ann) < again  # what is annotated is not proposed again


def test_prefilled_masks_are_in_the_same_list(ann, farm):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[2:12, 2:12] = True
    rles = (encode_rle(mask), encode_rle(np.roll(mask, 20, axis=1)))

    def generate(_image):
        return Masks(
            rles=rles,
            boxes_xyxy=np.array([[2, 2, 12, 12], [22, 2, 32, 12]]),
            areas=np.array([100, 100]),
            scores=np.array([0.9, 0.8], np.float32),
            stability=np.array([0.9, 0.8], np.float32),
            size_hw=(SIDE, SIDE),
        )

    with Store.open(farm.where) as store:
        prelabel_images(store, 1, generate, user_id=1)
    ann.open_image(2)
    count = start(ann)
    title = ann.page.locator(".proposals .work-title")
    assert "there before" in title.inner_text()
    ann.press("Delete")  # the first of them
    ann.press("Enter")  # the second one
    ann.wait_until_saved()
    found = masks_of(farm, 2)
    assert [one.rle["counts"] for one in found] == [rles[1]["counts"]]
    assert (found[0].version, left(ann)) == (1, count - 2)
    assert "there before" not in title.inner_text()


def test_all_that_are_like_a_mask_are_accepted_as_one_step(ann, farm):
    """Discs and stars: the example is one of the proposals, accepted first."""
    ann.open_image(3)
    start(ann)
    ann.press("Enter", "Escape")
    ann.wait_until_saved()
    ann.press("Shift+l")
    ann.page.wait_for_selector(".notice:has-text('Select the mask')")
    ann.press("n")
    ann.page.click("button:has-text('All like it')")
    ann.page.wait_for_selector(".proposals [title$='proposals']:has-text('like mask 1')")
    set_least(ann, 0)
    everything = left(ann)
    set_least(ann, 60)
    expect(ann.page.locator(".proposals .work-title")).to_contain_text("None that much alike")
    some = first_of(ann)
    assert 0 < some < everything
    before = masks_of(farm, 3)  # the example, and what another test prefilled
    example = before[0]
    ann.press("Shift+e")
    expect(ann.page.locator(".mask-row")).to_have_count(len(before) + some)
    ann.wait_until_saved()
    known = {one.id for one in before}
    others = [one for one in masks_of(farm, 3) if one.id not in known]
    assert len(others) == some
    assert {one.class_id for one in others} == {example.class_id}
    with Store.open(farm.where) as store:
        (event,) = annotation_events(store, others[0].id)
    assert event.data == {"of": "alike", "example": example.id}
    ann.press("Control+z")
    expect(ann.page.locator(".mask-row")).to_have_count(len(before))
    assert left(ann) == some
    ann.press("Escape", "Shift+w")
    ann.page.wait_for_selector(".notice:has-text('--text-model')")
