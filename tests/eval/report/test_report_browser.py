"""The page in a browser: quiet, sorted by mouse and keyboard, figures to download, markup in ids without effect."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
import time

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.timeout(900),  # the report is made within the first test
]
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
    assert len(means) == 7  # this run, the untrained one, and the predictions of another
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


def test_every_table_sorts_by_every_column(browser):
    """Numbers by value, words by letter, both ways; a second click turns the order round."""
    sorted_columns = """
        const found = [];
        for (const button of document.querySelectorAll("table .sort")) {
            const head = button.closest("th"), table = head.closest("table");
            const column = [...head.parentNode.children].indexOf(head);
            for (let click = 0; click < 2; click++) {
                button.click();
                const cells = [...table.tBodies[0].rows].map((row) => row.cells[column]);
                const keys = cells.map((c) => "sort" in c.dataset ? Number(c.dataset.sort) : c.textContent.trim());
                const marked = table.querySelectorAll("thead [aria-sort]").length;
                found.push([table.id, head.getAttribute("aria-sort"), keys, marked]);
            }
        }
        return found"""
    found = browser.execute_script(sorted_columns)
    browser.refresh()
    assert {table for table, *_ in found} >= {"subtype-scores", "survival-scores", "null-controls", "gene-table"}
    for table, order, keys, marked in found:
        assert marked == 1, table
        if all(isinstance(key, int | float) for key in keys):
            assert keys == sorted(keys, reverse=order == "descending"), (table, order)
        elif all(isinstance(key, str) and key.isalpha() for key in keys):
            assert keys == sorted(keys, key=str.lower, reverse=order == "descending"), (table, order)
    assert [order for _, order, *_ in found[::2]].count(None) == 0
    assert all(one[1] != other[1] for one, other in zip(found[::2], found[1::2], strict=True))


def fetched(browser, downloads, element, name: str) -> str:
    """The text of a download, clicked and waited for. Clicks of a script would be held back after the tenth."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    element.click()
    file = downloads / name
    for _ in range(100):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.1)
    return file.read_text(encoding="utf-8")


def test_every_figure_is_handed_out_as_svg_in_plain_colours(browser, downloads):
    from xml.etree import ElementTree

    buttons = browser.find_elements("css selector", "[data-svg]")
    names = [f"{button.get_attribute('data-svg')}.svg" for button in buttons]
    assert len(names) == len(set(names)) == len(browser.find_elements("css selector", ".panel svg")) >= 25
    for name, button in zip(names, buttons, strict=True):
        assert button.is_displayed()
        text = fetched(browser, downloads, button, name)
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg", name
        assert int(root.attrib["width"]) > 100, name
        assert len(list(root.iter("{http://www.w3.org/2000/svg}text"))) >= 1, name
        assert "var(" not in text, name
    assert "#0072b2" in (downloads / "roc-both.svg").read_text(encoding="utf-8")


def test_all_data_are_handed_out_as_csv(browser, downloads):
    links = browser.find_elements("css selector", "a[download]")
    names = [link.get_attribute("download") for link in links]
    assert len(names) == len(set(names)) >= 25
    for name, link in zip(names, links, strict=True):
        rows = list(csv.reader(io.StringIO(fetched(browser, downloads, link, name))))
        assert len({len(row) for row in rows}) == 1, name
        assert len(rows) >= 2, name
        dangerous = re.compile(r"[=+@]|-(?![\d.])")  # a negative number is none
        assert [cell for row in rows for cell in row if dangerous.match(cell)] == [], name
    assert (downloads / "roc.csv").read_text().startswith("modality,class,fold,false_positive,true_positive")


def test_focus_is_seen_wherever_it_goes(browser):
    from selenium.webdriver.common.keys import Keys

    browser.refresh()
    look = """const e = document.activeElement, s = getComputedStyle(e);
        return [e.tagName, s.outlineStyle, parseFloat(s.outlineWidth), s.outlineColor]"""
    seen = {}
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        tag, style, width, colour = browser.execute_script(look)
        seen.setdefault(tag, []).append((style, width >= 2, colour))
    assert {"A", "DIV", "BUTTON"} <= set(seen)  # links, tables that scroll, buttons
    assert {look for looks in seen.values() for look in looks} == {("solid", True, "rgb(0, 90, 143)")}


def test_everything_to_press_has_a_name_and_every_table_its_heads(browser):
    nameless = """return [...document.querySelectorAll("a, button, summary, [role=region], svg[role=img], nav, table")]
        .filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")))
        .map((e) => e.outerHTML.slice(0, 80))"""
    assert browser.execute_script(nameless) == []
    headless = """return [...document.querySelectorAll("tbody tr")]
        .filter((row) => !row.querySelector("th[scope=row]")
            || row.cells.length !== row.closest("table").tHead.rows[0].cells.length).length"""
    assert browser.execute_script(headless) == 0
    levels = "return [...document.querySelectorAll('h1,h2,h3,h4')].map((h) => h.tagName)"
    assert browser.execute_script(levels) == ["H1"] + ["H2"] * 12


def test_prints_to_pdf_with_everything_unfolded_and_nothing_cut(browser):
    browser.refresh()
    assert not browser.find_element("css selector", "details").get_attribute("open")
    paper = {"printBackground": True, "paperWidth": 8.27, "paperHeight": 11.69}
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", paper)["data"])
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 5
    assert all(part.get_attribute("open") for part in browser.find_elements("css selector", "details"))
    width = 690  # A4 less the margins, in CSS pixels
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    shown = "return [...document.querySelectorAll(arguments[0])].filter((e) => e.getClientRects().length).length"
    assert browser.execute_script(shown, "nav, .downloads, .skip, [data-copy]") == 0
    over = """return [...document.querySelectorAll("table, svg, p, h1, dd")]
        .filter((e) => e.getBoundingClientRect().right > arguments[0] + 1)
        .map((e) => e.id || e.outerHTML.slice(0, 60))"""
    assert browser.execute_script(over, width) == []
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert browser.execute_script(ground) == "rgb(255, 255, 255)"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


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


@pytest.mark.parametrize("width", [360, 400, 768, 1280])
def test_nothing_hangs_over_the_edge(browser, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
