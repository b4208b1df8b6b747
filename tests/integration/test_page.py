"""The page of a sweep in a browser: what is drawn, linked, filtered, copied; nothing asked of a network."""

import copy
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from published_sweep import published, sweep_of

BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
# .ci/run sets this where it could install one: then nothing is skipped.
REQUIRED = bool(os.environ.get("EDGEDISTIL_REQUIRE_BROWSER"))
HOSTILE = '</script><script>document.title = "taken"</script><img src=x onerror="document.title=1">'
MORE: list[dict[str, Any]] = [
    {"status": "skipped", "why": "no CUDA device: there is no nvidia-smi here",
     "names": {"model": "distil_minilm", "task": "sst2", "compression": "dense · NF4", "device": "cuda_4bit"}},
    {"status": "failed", "why": HOSTILE,
     "names": {"model": "distil_minilm", "task": "sst2", "compression": "dense · INT8 static", "device": "cpu"}},
]
pytestmark = pytest.mark.skipif(
    not REQUIRED and not (BROWSER and DRIVER), reason="no chromium and chromedriver here (Debian: chromium-driver)"
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., Any]) -> Path:
    root = tmp_path_factory.mktemp("page")
    folder = sweep_of(published(), root, MORE)
    (folder / "50").mkdir()
    (folder / "50" / "cell.json").write_text('{"status": "done", "sta')
    run("-m", "edgedistil", "report", str(folder), cwd=root, store=root / "store").ok()
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    words = "headless=new no-sandbox disable-gpu window-size=1400,1000 force-prefers-reduced-motion"
    # A page that is gone back to is loaded again, with what its form held.
    for argument in [*words.split(), "disable-features=BackForwardCache"]:
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=str(DRIVER))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, sweep: Path) -> Any:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get((sweep / "report.html").as_uri())
    return browser


def copies(count: int, root: Path) -> Path:
    """A sweep of so many cells: records that were measured, under other names and seeds."""
    measured, records = published(), []
    for number in range(count):
        record = copy.deepcopy(measured[number % len(measured)])
        turn = number // len(measured)
        record["fingerprint"], record["seed"] = f"{number:064x}", turn
        record["names"]["model"] = f"model{turn % 5}"
        records.append(record)
    return sweep_of(records, root)


@pytest.mark.parametrize(
    ("cells", "mb", "cpu_s"), [(200, 3.0, None), pytest.param(1000, None, 10.0, marks=pytest.mark.long)]
)
def test_a_large_sweep_has_a_small_page_soon(
    cells: int, mb: float | None, cpu_s: float | None, tmp_path: Path, run: Callable[..., Any]
) -> None:
    folder = copies(cells, tmp_path)
    ran = run("-m", "edgedistil", "report", str(folder), cwd=tmp_path, store=tmp_path / "store").ok()
    page = (folder / "report.html").read_text()
    assert page.count('data-cell="') >= cells
    assert mb is None or len(page.encode()) / 1e6 < mb
    assert cpu_s is None or ran.cpu_s < cpu_s


def everything_drawn(browser: Any) -> list[str]:
    """Scrolls until every chart is drawn; their names."""
    figures = browser.find_elements("css selector", "figure[data-chart]")
    for figure in figures:
        browser.execute_script("arguments[0].scrollIntoView()", figure)
        wait(lambda figure=figure: figure.find_elements("css selector", ".plot svg"))
    return [figure.get_attribute("data-chart") for figure in figures]


def wait(happens: Any, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
    return found


def css(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def test_everything_is_drawn_without_an_error_or_a_request(page: Any, sweep: Path) -> None:
    charts = everything_drawn(page)
    asked_for = {"pareto-latency-0", "pareto-size-1", "length-0", "cold-start-0", "memory-0", "structure-heads"}
    assert asked_for <= set(charts)
    errors = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
    asked = [json.loads(e["message"])["message"] for e in page.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    assert {u for u in urls if not u.startswith(("data:", "about:", "blob:"))} == {(sweep / "report.html").as_uri()}
    # Text of others is shown, not obeyed.
    assert page.title == "distil_minilm on sst2 · edgedistil"
    assert HOSTILE in page.find_element("id", "matrix").text


def test_charts_follow_colours_and_filters_while_they_are_drawn(page: Any) -> None:
    everything_drawn(page)
    drawn = "return [...document.querySelectorAll('figure[data-chart]')].map(e => e.dataset.drawn)"
    assert set(page.execute_script(drawn)) == {"light"}
    # Twice at once: the second comes while the first is drawn.
    page.execute_script("document.getElementById('theme').click()")
    wait(lambda: set(page.execute_script(drawn)) == {"dark"})
    page.execute_script("const b = document.getElementById('theme'); b.click(); b.click(); b.click()")
    page.execute_script("const b = document.getElementById('theme'); b.click()")
    assert "light" in page.find_element("id", "theme").text
    wait(lambda: set(page.execute_script(drawn)) == {"light"})
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    # What was hidden when the colours changed, and before it was near, is drawn when it is shown.
    page.refresh()
    boxes = "document.querySelectorAll('#filters input[value=cpu]').forEach(b => b.click())"
    turn, near = ";document.getElementById('theme').click()", ";window.dispatchEvent(new Event('beforeprint'))"
    page.execute_script(boxes + turn + near)
    figure = page.find_element("css selector", "figure[data-chart=pareto-size-1]")
    assert not figure.is_displayed()
    page.execute_script(boxes + near)
    wait(lambda: figure.get_attribute("data-drawn") == "dark")
    width = "return document.querySelector('[data-chart=pareto-size-1] svg').getBoundingClientRect().width"
    wide = wait(lambda: page.execute_script(width))
    assert wide > 300
    page.execute_script(boxes + turn + ";window.dispatchEvent(new Event('resize'))")
    time.sleep(0.3)
    page.execute_script(boxes)
    wait(lambda: figure.get_attribute("data-drawn") == "light" and page.execute_script(width) == wide)


def test_boxes_say_what_is_shown_after_going_back(page: Any) -> None:
    link = page.current_url
    next(b for b in css(page, "#filters input") if b.get_attribute("value") == "FP32").send_keys(" ")
    assert "cells shown" in page.find_element("id", "filtered").text
    page.get("about:blank")
    page.execute_script("setTimeout(() => history.back())")
    wait(lambda: page.current_url == link and page.execute_script("return document.readyState") == "complete")
    state = "const n = document.querySelectorAll('#filters input:not(:checked)').length;" \
        "return [n > 0, [...document.querySelectorAll('#the-matrix tbody tr')].some(r => r.hidden)]"
    assert page.execute_script(state) in ([True, True], [False, False])


def test_bars_are_as_many_as_cells(page: Any) -> None:
    everything_drawn(page)
    names = page.execute_script(
        "return [...document.querySelectorAll('[data-chart=cold-start-0] .mark-rect.layer_0_marks path')]"
        ".map(e => e.getAttribute('aria-label'))"
    )
    # Eight cells in six phases: none of the emulated phone's, and none of the eight that are INVALID.
    assert len(names) == 48
    assert "not to be quoted: 8 INVALID" in page.find_element("id", "cold-start").text
    struck = [c for c in css(page, "#the-matrix td.unquoted[data-device=cpu]") if c.text]
    assert len(struck) == 4 * 8
    assert {c.get_attribute("title") for c in struck} == {"INVALID: not to be quoted"}


def test_a_figure_opens_its_cell_and_leads_to_its_record(page: Any, sweep: Path) -> None:
    link = next(a for a in css(page, "#the-matrix td a") if a.text.startswith("87.73"))
    record = json.loads(Path(link.get_attribute("href").removeprefix("file://")).read_text())
    assert record["names"]["compression"] in ("dense · FP32", "dense · FP16")
    assert record["quality"]["accuracy"] == pytest.approx(0.877294)
    link.send_keys("\n")
    panel = page.find_element("id", "panel")
    wait(panel.is_displayed)
    assert panel.find_element("css selector", "a.record").get_attribute("href") == link.get_attribute("href")
    assert "accuracy\n" in panel.text or "accuracy 0.877294" in panel.text
    assert "python bench.py task=sst2 seed=" in panel.find_element("css selector", "code").text
    # Escape closes it, and the keyboard goes on where it was.
    page.switch_to.active_element.send_keys("\ue00c")
    wait(lambda: not panel.is_displayed())
    page.get(page.current_url.split("#")[0] + "#cell-" + record["fingerprint"][:12])
    wait(page.find_element("id", "panel").is_displayed)


def test_filters_hide_what_is_refused(page: Any) -> None:
    everything_drawn(page)
    before = len([r for r in css(page, "#the-matrix tbody tr") if r.is_displayed()])
    box = next(b for b in css(page, "#filters input") if b.get_attribute("value") == "FP32")
    box.send_keys(" ")
    rows = [r for r in css(page, "#the-matrix tbody tr") if r.is_displayed()]
    assert len(rows) == before - 4
    # So has a card: the parent's line is gone, and what is shown is allowed.
    told = [d.text for d in css(page, ".card dd") if d.is_displayed()]
    assert told
    assert not any("FP32" in text for text in told)
    assert not any("FP32" in r.find_element("css selector", "th").text for r in rows)
    bars = "return document.querySelectorAll('[data-chart=cold-start-0] .mark-rect.layer_0_marks path').length"
    wait(lambda: page.execute_script(bars) == 30)
    assert "cells shown" in page.find_element("id", "filtered").text
    box.send_keys(" ")
    phone = next(b for b in css(page, "#filters input") if b.get_attribute("value") == "android_emulated")
    phone.send_keys(" ")
    heads = [h.text for h in css(page, "#the-matrix thead tr:first-child th") if h.is_displayed()]
    assert not any("android" in h for h in heads)
    assert not any(f.is_displayed() for f in css(page, "figure[data-device=android_emulated]"))
    # What only the refused device was asked for has no line left.
    lines = [r.find_element("css selector", "th").text for r in css(page, "#the-matrix tbody tr") if r.is_displayed()]
    assert len(lines) == 19
    wait(lambda: page.execute_script(bars) == 48)


def test_sorting_by_a_figure(page: Any) -> None:
    button = next(b for b in css(page, "#the-matrix .sort") if b.text.startswith("model MB"))
    button.send_keys("\n")
    head = button.find_element("xpath", "..")
    place = page.execute_script("return [...arguments[0].parentElement.cells].indexOf(arguments[0])", head)
    told = [r.find_elements("css selector", "td") for r in css(page, "#the-matrix tbody tr")]
    sizes = [float(cells[place].text) for cells in told if cells[0].get_attribute("colspan") is None]
    assert sizes == sorted(sizes)
    assert len(sizes) == 16
    assert head.get_attribute("aria-sort") == "ascending"
    # Of several figures by the first; remarks are no figures.
    button = next(b for b in css(page, "#the-matrix .sort") if b.text.startswith("p50 ms"))
    row, place = css(page, "#the-matrix tbody tr")[3], place_of(page, button)
    page.execute_script("arguments[0].cells[arguments[1]].textContent = '- / 0.01 / 0.02'", row, place + 1)
    button.send_keys("\n")
    told = [r.find_elements("css selector", "td") for r in css(page, "#the-matrix tbody tr")]
    times = [cells[place].text for cells in told if cells[0].get_attribute("colspan") is None]
    numbers = [text.split(" / ")[0] for text in times]
    assert numbers[-1] == "-"
    assert [float(n) for n in numbers[:-1]] == sorted(float(n) for n in numbers[:-1])
    assert not any(b.text.startswith("remarks") for b in css(page, "#the-matrix .sort"))
    assert any(h.text == "remarks" for h in css(page, "#the-matrix thead th"))


def place_of(page: Any, button: Any) -> int:
    """The column of a heading's figures among those of the devices."""
    return int(page.execute_script(
        "const th = arguments[0].closest('th'); return [...th.parentElement.cells].indexOf(th)", button))


def test_dark_light_and_a_phone(page: Any) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    wish = {"name": "prefers-color-scheme", "value": "dark"}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})
    assert page.execute_script(paper) == "rgb(20, 22, 26)"
    button = page.find_element("id", "theme")
    button.send_keys("\n")
    button.send_keys("\n")
    assert "light" in button.text
    assert page.execute_script(paper) == "rgb(255, 255, 255)"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    page.refresh()
    everything_drawn(page)
    wide = page.execute_script("return document.documentElement.scrollWidth")
    assert wide <= 390
    # What is wider scrolls in a place of its own.
    assert page.execute_script("const e = document.querySelector('.wide'); return e.scrollWidth > e.clientWidth")


def test_commands_are_copied(page: Any) -> None:
    button = css(page, ".commands .copies")[0]
    button.send_keys("\n")
    wait(lambda: button.text in ("copied", "selected"))


def test_every_control_has_a_name(page: Any) -> None:
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('button, a, input, select')].filter(e => !(e.textContent.trim() ||"
        " e.getAttribute('aria-label') || e.closest('label') || e.name)).map(e => e.outerHTML)"
    )
    assert unnamed == []
    assert page.find_element("css selector", page.find_element("css selector", "a.skip").get_attribute("hash"))


def test_what_went_wrong_is_on_the_page(page: Any, sweep: Path) -> None:
    problems = css(page, ".problems li")
    assert [p.find_element("css selector", "strong").text for p in problems] == ["failed", "unreadable", "skipped"]
    assert "cell.json: JSONDecodeError" in problems[1].text
    assert "no CUDA device: there is no nvidia-smi here" in problems[2].text
