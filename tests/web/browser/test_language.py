"""The page in Chinese: chosen in the header or on the sign-in page, and kept for each person."""

# ruff: noqa: RUF001  Chinese has commas of its own.

import re

import pytest
from playwright.sync_api import expect

from .conftest import serving
from .test_habits import open_image, paint, wait_for_image

pytestmark = pytest.mark.slow
ENGLISH = re.compile(
    r"\b(?!samkit|Tab|Enter|Shift|Ctrl|Alt|Esc|Delete|Backspace|Space|Page)[A-Z]?[a-z]{3,}\b"
)


@pytest.fixture(scope="module")
def house(tmp_path_factory, plain_backend):
    """A server for this module."""
    with serving(tmp_path_factory.mktemp("house")) as server:
        yield server


def test_a_person_changes_the_language(person, house):
    ada = person("ada", on=house)
    page = ada.page
    page.goto(f"{house.url}/#/")
    expect(page.locator("html[lang=en-GB] h1")).to_have_text("Projects")
    page.click("button[aria-label=Language]")
    page.select_option("dialog select", "zh")
    expect(page.locator("html[lang=zh-CN] h1")).to_have_text("项目")
    expect(page.locator(".project p").last).to_have_text("12 张图像，0 个掩码，已接受 0 张")
    page.click(".card.project")
    expect(page.locator(".found-count")).to_have_text("12 张图像")
    page.click("text=导出")
    expect(page.locator("dialog h2")).to_have_text("导出 scenes")
    expect(page.locator("dialog legend")).to_have_text("图像")
    ada.press("Escape")
    open_image(ada, 1)
    assert page.title() == "scene-00.png · samkit"  # a name is never translated
    paint(ada, (60, 60), (90, 60))
    expect(page.locator(".work-title")).to_have_text("新掩码 · 1 步")
    ada.press("Enter")
    page.wait_for_selector(".save-state:text-is('已保存')")
    label = re.compile("^掩码 1，disc，占图像")
    expect(page.locator(".mask-row")).to_have_attribute("aria-label", label)
    ada.press("Control+Enter")
    expect(page.locator(".notice.good span")).to_have_text("已提交，共 1 个掩码。")
    wait_for_image(ada, 2)
    ada.press("Control+Enter")
    expect(page.locator("dialog h2")).to_have_text("在没有掩码的情况下提交？")
    ada.press("Escape", "?")
    sheet = page.locator("dialog .help-sheet")
    expect(sheet.locator("h3").first).to_have_text("鼠标、触控笔、触摸")
    assert ENGLISH.findall(sheet.inner_text()) == []
    # It is the person's, wherever they sign in.
    elsewhere = person("ada", on=house, fresh=False).page
    elsewhere.goto(f"{house.url}/#/project/1")
    expect(elsewhere.locator("html[lang=zh-CN] .found-count")).to_have_text("12 张图像")


def test_signing_in_begins_in_the_browsers_language(chromium, house):
    context = chromium.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(house.url)
    page.fill("input[name=name]", "rev")
    page.fill("input[name=password]", "not this one")
    page.click("text=登录")
    expect(page.locator(".failure")).to_have_text("用户名或密码错误")
    page.select_option("select", "en")
    expect(page.locator("html[lang=en-GB] form button")).to_have_text("Sign in")
    context.close()
