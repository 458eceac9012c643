"""The contact sheet in a browser: quiet, filtered by id and reason, markup in ids without effect."""

from __future__ import annotations

import shutil

import pytest
from mirror_data.slides.contact_sheet import SheetOptions, make_contact_sheet
from mirror_data.store import create_store

from tests.data.slides.sheet_store import EVIL, fill

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheet")
    make_contact_sheet(fill(create_store(folder / "cohort.zarr")), SheetOptions(folder / "sheet.html"))
    return (folder / "sheet.html").as_uri()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver, page):
    driver.get(page)
    return driver


def shown(browser) -> list[str]:
    cards = "[...document.querySelectorAll('.card')].filter(card => card.offsetParent)"
    script = f"return {cards}.map(card => card.querySelector('h3').textContent)"
    return browser.execute_script(script)


def test_no_word_on_the_console(browser):
    assert browser.get_log("browser") == []
    assert browser.find_element("tag name", "h1").text == "4 of 14 slides should be looked at"
    sizes = browser.execute_script("return [...document.querySelectorAll('image')].map(i => i.getBBox().width)")
    assert sizes == [80] * 14


def test_markup_in_ids_does_nothing(browser):
    assert EVIL in shown(browser)
    assert browser.find_elements("css selector", "img") == []
    assert browser.execute_script("return document.scripts.length") == 1
    assert browser.execute_script("return window.broken === undefined")


def test_policy_is_in_force(browser):
    script = """
        const made = document.createElement("script"); made.textContent = "window.broken = true";
        document.body.append(made); made.remove(); return window.broken === undefined"""
    assert browser.execute_script(script)
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_filter_by_id_and_by_reason(browser):
    from selenium.webdriver.support.ui import Select

    find = browser.find_element("id", "find")
    find.send_keys("s0")
    assert shown(browser) == [EVIL, *(f"S{k:02d}" for k in range(1, 10))]
    assert not browser.find_element("id", "look").is_displayed()
    assert browser.find_element("id", "status").text == "10 of 14 shown"
    find.clear()
    Select(browser.find_element("id", "kind")).select_by_visible_text("unusual share of tissue")
    assert shown(browser) == ["smeared", "sparse"]
    find.send_keys("spa")
    assert shown(browser) == ["sparse"]
    find.clear()
    Select(browser.find_element("id", "kind")).select_by_value("")
    assert len(shown(browser)) == 14
    assert browser.find_element("id", "status").text == ""


@pytest.mark.parametrize("what", ["mask", "tiles"])
def test_overlays_are_switched_by_keyboard(browser, what):
    from selenium.webdriver.common.keys import Keys

    visible = f"return getComputedStyle(document.querySelector('#rest .{what}')).display"
    assert browser.execute_script(visible) == "inline"
    box = browser.find_element("id", f"show-{what}")
    browser.execute_script("arguments[0].focus()", box)
    box.send_keys(Keys.SPACE)
    assert browser.execute_script(visible) == "none"
    box.send_keys(Keys.SPACE)
    assert browser.execute_script(visible) == "inline"


def test_first_tab_skips_to_the_slides(browser):
    from selenium.webdriver.common.keys import Keys

    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the slides"


def test_the_outline_lies_on_the_tissue(browser):
    """S05: 33 of 60 mask rows, from row 23, within a rim of 4 pixels."""
    script = """
        const card = [...document.querySelectorAll('.card')].find(c => c.querySelector('h3').textContent === 'S05');
        const box = card.querySelector('.mask .edge').getBBox();
        return [box.x, box.y, box.width, box.height]"""
    assert browser.execute_script(script) == [4, 23, 72, 33]


def test_light_and_dark(browser):
    look = "return ['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name])"
    seen = []
    for scheme in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        seen.append(browser.execute_script(look))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert seen == [["rgb(251, 251, 249)", "rgb(27, 31, 36)"], ["rgb(15, 18, 21)", "rgb(231, 234, 238)"]]


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_hangs_over_the_edge(browser, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
