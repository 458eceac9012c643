"""The page in a browser: quiet, sorted by mouse and keyboard, figures to download, markup in ids without effect."""

from __future__ import annotations

import shutil
import time

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(full_report, tmp_path_factory, downloads):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(full_report.html, encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    driver.get(page.as_uri())
    yield driver
    driver.quit()


def column(browser, table: str, index: int) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(row => row.cells[arguments[1]].textContent)"
    return browser.execute_script(script, f'[id="{table}"] tbody:first-of-type tr', index)


def media(browser, **features: str) -> None:
    values = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": values})


def test_no_word_on_the_console(browser):
    assert browser.get_log("browser") == []
    assert "Slides and RNA together" in browser.find_element("tag name", "h1").text


def test_markup_in_ids_does_nothing(browser):
    assert browser.find_elements("css selector", "img, body script ~ script") == []
    assert browser.execute_script("return document.scripts.length") == 1
    shown = browser.execute_script("return document.getElementById('gene-table').textContent")
    assert "<b>X</b>" in shown


def test_policy_is_in_force(browser):
    script = """
        const made = document.createElement("script"); made.textContent = "window.broken = true";
        document.body.append(made); made.remove(); return window.broken === undefined"""
    assert browser.execute_script(script)
    refused = browser.get_log("browser")
    assert any("Content Security Policy" in entry["message"] for entry in refused)


def test_tables_sort_on_click(browser):
    button = browser.find_element("css selector", '[id="gene-table"] thead th:nth-child(2) button')
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    head = browser.find_element("css selector", '[id="gene-table"] thead th:nth-child(2)')
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(text) for text in column(browser, "gene-table", 1)]
    assert values == sorted(values, reverse=True)
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(browser, "gene-table", 1)] == sorted(values)
    assert "Sorted by separation F" in browser.find_element("id", "status").get_attribute("textContent")


def test_tables_sort_by_keyboard_and_references_keep_apart(browser):
    from selenium.webdriver.common.keys import Keys

    button = browser.find_element("css selector", '[id="subtype-scores"] thead th:nth-child(2) button')
    browser.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    means = [float(text.split(" ")[0]) for text in column(browser, "subtype-scores", 1)]
    assert len(means) == 3
    assert means == sorted(means, reverse=True)
    button.send_keys(Keys.SPACE)
    assert [float(text.split(" ")[0]) for text in column(browser, "subtype-scores", 1)] == sorted(means)
    references = '[id="subtype-scores"] tbody.reference tr'
    assert len(browser.find_elements("css selector", references)) == 4


def test_text_sorts_as_text(browser):
    button = browser.find_element("css selector", '[id="gene-table"] thead th:first-child button')
    browser.execute_script("arguments[0].click()", button)
    names = column(browser, "gene-table", 0)
    assert names.index("GENE002") < names.index("GENE003") < names.index("GENE011")


def test_first_tab_skips_to_the_report(browser):
    from selenium.webdriver.common.keys import Keys

    browser.refresh()
    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the report"


def test_figures_are_handed_out_as_svg_in_plain_colours(browser, downloads):
    from xml.etree import ElementTree

    button = browser.find_element("css selector", '[data-svg="roc-both"]')
    assert button.is_displayed()
    browser.execute_script("arguments[0].click()", button)
    file = downloads / "roc-both.svg"
    for _ in range(100):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.1)
    text = file.read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "var(" not in text
    assert "#0072b2" in text


def test_data_is_handed_out_as_csv(browser, downloads):
    browser.execute_script("document.querySelector('a[download=\"roc.csv\"]').click()")
    file = downloads / "roc.csv"
    for _ in range(100):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.1)
    assert file.read_text().startswith("modality,class,fold,false_positive,true_positive")


def test_light_and_dark(browser):
    look = """const style = (what) => getComputedStyle(document.querySelector(what));
        return [style("body").backgroundColor, style("body").color, style("#panel-roc-both text").fill]"""
    media(browser, prefers_color_scheme="light")
    light = browser.execute_script(look)
    media(browser, prefers_color_scheme="dark")
    dark = browser.execute_script(look)
    media(browser, prefers_color_scheme="light")
    assert light[0] == "rgb(251, 251, 249)"
    assert dark[0] == "rgb(15, 18, 21)"
    assert all(one != other for one, other in zip(light, dark, strict=True))


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_hangs_over_the_edge(browser, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
