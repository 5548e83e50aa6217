"""The page in a real browser: it runs from its file, makes no request, and counts as the metrics do."""

import shutil

import numpy as np
import pytest

import lesionloss as ll
from lesionloss.core.number_text import number
from lesionloss.metrics.thresholds import count_thresholds
from lesionloss.report.viewer_volumes import SLIDER_THRESHOLDS
from make_run import TINY_CASES, Made, make_run, with_epochs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

EVIL = '"><img src=x onerror=window.hacked=1>'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Made(
        patients=6,
        losses=("dice_ce", "<script>window.hacked=1</script>"),
        without_lesions=(5,),
        metrics=("dice", "hd95"),
        **TINY_CASES,
        names={0: EVIL.replace("/", ""), 1: "</script><script>window.hacked=1</script>".replace("/", "∕")},
    )
    folder = make_run(tmp_path_factory.mktemp("browser") / "run", made)
    with_epochs(folder, {"test": 0.5, "train_images": 0.7, "train_patches": 0.9})
    ll.write_report(ll.load(folder), formats=())
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(run, browser):
    """The page, opened from its file; at the end there was no request and no error."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    messages: list[str] = []
    requests: list[str] = []
    opened.on("console", lambda message: messages.append(message.text))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto((run / "report.html").as_uri())
    opened.wait_for_selector("#viewer[data-ready]")
    yield opened
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [(run / "report.html").as_uri()]
    context.close()


def part(page, name):
    return page.locator(f'#viewer [data-part="{name}"]')


def slide(page, name, value):
    part(page, name).evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value)


def test_names_of_users_do_not_run(page):
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0


def test_the_slider_counts_as_the_metrics_do(run, page):
    results = ll.load(run)
    case = page.locator("#viewer").get_attribute("data-ready")
    for place, loss in enumerate(results.losses):
        part(page, "loss").select_option(str(place))
        trial = next(t for t in results.trials if t.loss == loss and t.seed in (0, 1) and case in t.record["test"])
        probability = results.probability(trial.key, case)
        reference = results.case(case)["reference"].astype(bool)
        for threshold in (0.05, 0.2, 0.37, 0.5, 0.8, 0.95):
            slide(page, "threshold", SLIDER_THRESHOLDS.index(threshold))
            counts = count_thresholds(probability, reference, [threshold])
            for name in ("tp", "fp", "fn"):
                assert part(page, name).inner_text() == str(getattr(counts, name)[0])
            for name in ("dice", "recall", "precision"):
                value = float(getattr(counts, name)[0])
                assert part(page, name).inner_text() == ("–" if np.isnan(value) else number(value))


def test_keys_move_the_threshold_the_loss_and_the_marks(page):
    part(page, "threshold").focus()
    before, loss = part(page, "threshold-value").inner_text(), part(page, "loss").input_value()
    page.keyboard.press("]")
    assert part(page, "threshold-value").inner_text() == f"{float(before) + 0.01:.2f}".removeprefix("0")
    page.keyboard.press("l")
    assert part(page, "loss").input_value() != loss
    page.keyboard.press("o")
    assert part(page, "marks").input_value() == "none"
    page.keyboard.press("m")
    assert part(page, "marks").input_value() == "compared"
    page.keyboard.press("b")
    assert part(page, "image").input_value() == "0"


def coloured(page, canvas="axial"):
    """How many pixels of a slice are not grey."""
    return part(page, canvas).evaluate(
        """e => { const d = e.getContext("2d").getImageData(0, 0, e.width, e.height).data; let n = 0;
        for (let i = 0; i < d.length; i += 4) n += Math.abs(d[i] - d[i + 1]) + Math.abs(d[i] - d[i + 2]) > 12;
        return n; }"""
    )


def test_every_picture_of_a_case_can_be_chosen(page):
    """Baseline, follow-up and their difference; comparison, reference, prediction or no marks over each."""
    page.locator("button[data-open-case]").last.click()
    page.wait_for_timeout(300)
    images = part(page, "image").locator("option").all_inner_texts()
    assert images == ["Baseline", "Follow-up", "Difference"]
    shown = set()
    for image in range(3):
        part(page, "image").select_option(str(image))
        counts = {}
        for marks in ("compared", "reference", "prediction", "none"):
            part(page, "marks").select_option(marks)
            counts[marks] = coloured(page)
            shown.add(part(page, "axial").evaluate("e => e.toDataURL()"))
        assert counts["none"] == 0
        assert min(counts[marks] for marks in ("compared", "reference", "prediction")) > 0
    assert len(shown) == 12


def test_the_map_of_probabilities_stands_beside_the_mask_where_there_is_one(page):
    part(page, "loss").select_option("0")
    assert coloured(page, "heat") > 0
    before = part(page, "heat").evaluate("e => e.toDataURL()")
    box = part(page, "heat").bounding_box()
    part(page, "heat").click(position={"x": 0.3 * box["width"], "y": 0.6 * box["height"]})
    assert part(page, "heat").evaluate("e => e.toDataURL()") != before
    part(page, "loss").select_option(label="difference threshold (no training)")
    assert not part(page, "heat").is_visible()


def test_slices_are_linked(page):
    """A click into the axial slice moves the crosshair of the two others, and their sliders follow."""
    before = {name: part(page, name).evaluate("e => e.toDataURL()") for name in ("coronal", "sagittal")}
    places = {name: part(page, f"{name}-at").input_value() for name in ("coronal", "sagittal")}
    box = part(page, "axial").bounding_box()
    part(page, "axial").click(position={"x": 0.2 * box["width"], "y": 0.75 * box["height"]})
    for name in before:
        assert part(page, name).evaluate("e => e.toDataURL()") != before[name]
        assert part(page, f"{name}-at").input_value() != places[name]


def test_the_slider_starts_at_what_the_benchmark_scored(run, page):
    results = ll.load(run)
    case = page.locator("#viewer").get_attribute("data-ready")
    trial = next(t for t in results.trials if t.loss == "dice_ce" and t.seed == 1 and case in t.record["test"])
    scores = results.scores
    row = scores[(scores["key"] == trial.key) & (scores["case"] == case) & (scores["metric"] == "dice")].iloc[0]
    assert part(page, "dice").inner_text() == number(float(row["value"]))
    assert part(page, "stored").inner_text().endswith(f"seed 1, threshold .50: Dice {number(float(row['value']))}")


def test_a_lesion_of_the_table_is_gone_to(page):
    picture = "e => e.toDataURL()"
    before = part(page, "axial").evaluate(picture)
    button = part(page, "lesions").locator("button").last
    button.focus()
    page.keyboard.press("Enter")
    assert part(page, "axial").evaluate(picture) != before
    assert float(part(page, "zoom").input_value()) == 3


def test_a_case_of_the_list_opens_in_the_viewer(page):
    buttons = page.locator("button[data-open-case]")
    assert buttons.count() == 3
    buttons.last.click()
    row = buttons.last.locator("xpath=ancestor::tr").locator("th").inner_text()
    page.wait_for_function("n => document.getElementById('viewer').dataset.ready === n", arg=row)


def test_tables_sort_by_number_and_back(page):
    heading = page.locator("table.main thead button").nth(1)
    cells = "[...document.querySelectorAll('table.main tbody tr')].map(r => Number(r.children[1].dataset.v))"
    heading.click()
    up = page.evaluate(cells)
    assert up == sorted(up)
    heading.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(cells) == up[::-1]
    assert page.locator('table.main th[aria-sort="descending"]').count() == 1


def test_cases_sort_with_the_worst_first_whichever_way_is_better(page):
    heads = page.locator(".cases thead button")
    rows = "[...document.querySelectorAll('.cases tbody tr')]"
    cells = f"n => {rows}.map(r => r.children[n].dataset.v).filter(v => v).map(Number)"
    dice, hd95 = (page.evaluate(cells, column) for column in (4, 5))
    assert dice == sorted(dice)  # as the page opens
    heads.nth(4).click()
    assert page.evaluate(cells, 5) == sorted(hd95, reverse=True)
    heads.nth(4).click()
    assert page.evaluate(cells, 5) == sorted(hd95)


def test_without_what_it_needs_the_viewer_gives_way_to_pictures(run, browser):
    context = browser.new_context()
    opened = context.new_page()
    opened.add_init_script("delete window.DecompressionStream")
    opened.goto((run / "report.html").as_uri())
    assert opened.locator("#no-viewer").is_visible()
    assert not opened.locator("#viewer").is_visible()
    opened.locator("details.mosaics summary").click()
    assert opened.locator("details.mosaics h4").count() == 6  # every case, the embedded ones too
    assert opened.locator("details.mosaics img").first.is_visible()
    context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_no_serious_fault_of_access_and_nothing_sticks_out(run, browser, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    opened = context.new_page()
    opened.goto((run / "report.html").as_uri())
    opened.wait_for_selector("#viewer[data-ready]")
    opened.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    found = Axe().run(opened).response["violations"]
    grave = [(v["id"], n["target"]) for v in found if v["impact"] in ("serious", "critical") for n in v["nodes"]]
    assert grave == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    forest = {name: opened.locator(name).is_visible() for name in ("#forest", "#forest-narrow")}
    assert forest == {"#forest": width == 1440, "#forest-narrow": width == 390}
    context.close()
