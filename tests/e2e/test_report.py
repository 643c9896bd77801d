"""The report of a real run: its facts, what is left out when files are gone, and a browser in which it is used."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.conftest import Hume

RUN = Path("hume-run")
WIDTHS = (375, 1440)


def html() -> str:
    return (RUN / "report.html").read_text(encoding="utf-8")


def data(name: str) -> Any:
    """What the page's script reads under a name."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_report_of_a_whole_run(hume: Hume, done: Path) -> None:
    answer = hume("report", "--truth", "truth.npy", "--json")
    assert answer.code == 0, answer.err
    page = html()
    assert answer.json["bytes"] == (RUN / "report.html").stat().st_size == len(page.encode())
    for part in ("overview", "classes", "figures", "truth", "training", "map"):
        assert f'<section id="{part}"' in page
    consensus = pd.read_csv(RUN / "consensus.csv")
    train = consensus[consensus["split"] == "train"]
    shown = {int(item) for item in re.findall(r'data-item="(\d+)"', page)}
    assert shown <= set(train["index"]) and len(shown) == answer.json["tiles"]
    selected = set(pd.read_csv(RUN / "selection/per-class-2/labels.csv")["index"])
    assert selected <= shown and page.count("★</span>") == len(selected)
    evaluation = json.loads((RUN / "evaluation.json").read_text())
    assert f"{evaluation['consensus']['acc']:.4f}" in page
    points = data("map-data")
    assert points["item"] == list(range(400)) and points["label"] == consensus["label"].tolist()
    assert data("run-data")["names"] == [f"class-{label:02d}" for label in range(10)]
    assert not re.search(r'(src|href)="(?!data:|#)', page), "the page asks for something from elsewhere"
    again = hume("report")
    assert again.code == 0 and 'id="truth"' in html()


def test_without_truth_training_or_selection(hume: Hume, done: Path) -> None:
    shutil.rmtree(RUN / "selection")
    shutil.rmtree(RUN / "train")
    record = json.loads((RUN / "run.json").read_text())
    record["stages"] = {
        name: stage for name, stage in record["stages"].items() if "/per" not in name and "train/" not in name
    }
    (RUN / "run.json").write_text(json.dumps(record))
    answer = hume("report")
    assert answer.code == 0, answer.err
    assert '<section id="truth"' not in html() and '<section id="training"' not in html()


def test_a_run_whose_images_are_gone_has_a_report_without_pictures(hume: Hume, done: Path) -> None:
    recipe = RUN / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("digits.npy", "gone.npy"))
    answer = hume("report")
    assert answer.code == 0, answer.err
    assert "warning: no pictures" in answer.err + answer.out
    assert "data:image" not in html() and "item 7" in html()


def test_an_old_evaluation_is_left_out(hume: Hume, done: Path) -> None:
    assert hume("evaluate", "--truth", "truth.npy").code == 0
    consensus = pd.read_csv(RUN / "consensus.csv")
    items = consensus["index"][(consensus["split"] == "train") & (consensus["label"] == 2)].head(3)
    Path("answers.csv").write_text("index,label\n" + "".join(f"{item},3\n" for item in items))
    assert hume("select", "--answers", "answers.csv").code == 0
    answer = hume("report")
    assert answer.code == 0 and "of an older consensus" in answer.err + answer.out
    assert '<section id="truth"' not in html()


def test_wrong_input(hume: Hume, done: Path) -> None:
    answer = hume("report", "--map", "globe")
    assert answer.code == 2 and "give pca or umap" in answer.err
    answer = hume("report", "--run", "nowhere")
    assert answer.code == 2 and "no run in nowhere" in answer.err


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium of the system, driven by Playwright."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install playwright to use the report in a browser"
    )
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium is installed (apt install chromium): the report is not tried in a browser")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


def open_report(browser: Any, **how: Any) -> tuple[Any, list[str]]:
    """The report in a new window, and what goes wrong in it."""
    page = browser.new_context(accept_downloads=True, **how).new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    page.goto((RUN / "report.html").absolute().as_uri())
    return page, wrong


def save(page: Any, button: str, path: str) -> None:
    with page.expect_download() as download:
        page.click(button)
    download.value.save_as(path)


def test_names_and_marks_go_from_the_browser_into_the_run(hume: Hume, done: Path, browser: Any) -> None:
    """Type names, two of them alike, mark two items; the downloads name classes, merge two and correct the run."""
    assert hume("report").code == 0
    page, wrong = open_report(browser)
    assert page.is_disabled("#save-answers")
    page.fill('input[data-class="2"]', 'ro"und, or <b>so</b>')
    page.fill('input[data-class="5"]', 'ro"und, or <b>so</b>')
    page.fill('input[data-class="7"]', "sieben")
    assert page.text_content("#merges-5") == "Same name as class 2: the two become one class."
    assert page.get_attribute("#merges-2", "hidden") is not None
    assert page.inner_text('nav.classes a[href="#class-7"]') == "sieben"
    tiles = page.query_selector_all("#class-3 .tile")
    items = sorted(int(tile.get_attribute("data-item")) for tile in (tiles[0], tiles[-1]))
    tiles[0].click()
    tiles[-1].focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#wrong-count") == "2"
    save(page, "#save-names", "classes.csv")
    save(page, "#save-answers", "answers.csv")
    page.reload()
    assert page.input_value('input[data-class="7"]') == "sieben" and page.inner_text("#wrong-count") == "2"
    assert not wrong
    names = pd.read_csv("classes.csv")
    assert names["name"].tolist()[7] == "sieben" and names["name"].tolist()[5] == 'ro"und, or <b>so</b>'
    assert pd.read_csv("answers.csv")["index"].tolist() == items
    call = ["select", "--names", "classes.csv", "--answers", "answers.csv", "--per-class", "2", "--overwrite", "--json"]
    answer = hume(*call)
    assert answer.code == 0, answer.err
    assert answer.json["names"]["merged"] == [[2, 5]] and answer.json["answers"]["wrong"] == 2
    labels = pd.read_csv(RUN / "selection/per-class-2/labels.csv")
    assert set(labels["class_name"][labels["label"] == 7]) == {"sieben"}
    assert not set(items) & set(labels["index"])


def test_the_map_by_mouse_and_by_keyboard(hume: Hume, done: Path, browser: Any) -> None:
    assert hume("report").code == 0
    page, wrong = open_report(browser, viewport={"width": 1440, "height": 900})
    points = data("map-data")
    page.locator("#map-canvas").scroll_into_view_if_needed()
    box = page.locator("#map-canvas").bounding_box()
    at = 123
    x = box["x"] + 14 + points["x"][at] * (box["width"] - 28)
    y = box["y"] + box["height"] - 14 - points["y"][at] * (box["height"] - 28)
    page.mouse.move(x, y)
    assert page.is_visible("#map-tip")
    assert f"item {points['item'][at]}: " in page.inner_text("#map-tip")
    assert page.get_attribute("#map-tip img", "src").startswith("data:image/")
    page.mouse.move(5, 5)
    assert page.is_hidden("#map-tip")
    page.focus("#map-canvas")
    said = set()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
        said.add(page.inner_text("#map-said"))
    assert len(said) >= 3 and all(re.match(r"item \d+: class-\d\d, \d+% agree", words) for words in said)
    page.click('.keys button[data-shows="4"]')
    page.focus("#map-canvas")
    page.keyboard.press("ArrowRight")
    assert "class-04" in page.inner_text("#map-said")
    assert not wrong


def test_hostile_file_names_stay_names(hume: Hume, bare: Path, browser: Any) -> None:
    """HTML, quotes, a newline, a leading dash, bytes that are no UTF-8: shown as text, and found again by answers."""
    Path("photos").mkdir()
    hostile = [
        "<img src=x onerror=alert(1)>",
        "';alert(2);'",
        '"><script>alert(3)<!--',
        "-rf",
        "a\nb",
        "caf\udce9",
        "=1+1",
    ]
    for item, image in enumerate(np.load("digits.npy")[:60]):
        stem = hostile[item].replace("/", "") if item < len(hostile) else f"{item:03d}"
        Image.fromarray(image).save(f"photos/{stem}.png")
    command = ["discover", "--images", "photos", "--classes", "3", "--searches", "2", "--set", "search.iterations=20"]
    answer = hume(*command, "--encoder", "kernel:rbf?dim=32", "--encoder", "kernel:rbf?dim=48")
    assert answer.code == 0, answer.err
    assert hume("report").code == 0
    page, wrong = open_report(browser)
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    tiles = page.query_selector_all(".tile")
    for tile in tiles:
        tile.click()
    save(page, "#save-answers", "answers.csv")
    assert not wrong and len(tiles) == int(page.text_content("#wrong-count"))
    answer = hume("select", "--answers", "answers.csv", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["wrong"] == len(tiles) == 60


OVERLAPS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("figure svg:not(.key)")) {
    const frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll("text")].map(
      (t) => [t.firstChild.textContent, t.getBoundingClientRect(), t.getAttribute("transform")]);
    for (const [words, box] of boxes)
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1)
        found.push("cut off: " + words);
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i], boxes[j]];
      if (a[2] || b[2]) continue; // turned text has a larger box than its letters
      const wide = Math.min(a[1].right, b[1].right) - Math.max(a[1].left, b[1].left);
      const high = Math.min(a[1].bottom, b[1].bottom) - Math.max(a[1].top, b[1].top);
      if (wide > 1.5 && high > 4)
        found.push("overlap: " + a[0] + " | " + b[0]);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overlaps_or_is_cut_off(hume: Hume, done: Path, browser: Any, width: int, scheme: str) -> None:
    """On a phone and on a screen; with REPORT_SHOTS=FOLDER the screenshots are kept to be looked at."""
    assert hume("select", "--names", long_names(), "--per-class", "2", "--overwrite").code == 0
    assert hume("report", "--truth", "truth.npy").code == 0
    page, wrong = open_report(browser, viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") is (scheme == "light")
    shot = page.screenshot(full_page=True)
    assert len(shot) > 20_000
    if folder := os.environ.get("REPORT_SHOTS"):
        (Path(folder) / f"report-{width}-{scheme}.png").write_bytes(shot)
    assert not wrong


def long_names() -> str:
    names = [
        "a",
        "an uncommonly long name of a class, with spaces",
        "x" * 120,
        *(f"class-{i:02d}" for i in range(3, 10)),
    ]
    pd.DataFrame({"class": np.arange(10), "name": names}).to_csv("names.csv", index=False)
    return "names.csv"
