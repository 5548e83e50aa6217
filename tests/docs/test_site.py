"""The site builds without a warning, loads nothing from elsewhere, and reads well in both palettes and on a phone."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, sync_playwright

from lesionloss.losses.registry import list_losses

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOOKED_AT = (
    "index.html",
    "tutorials/5-threshold-for-recall.html",
    "reference/losses/hytver.html",
    "reference/api/lesionloss.html",
    "reference/command-line.html",
)


def addresses(page: Page) -> list[str]:
    """What the page will ask for."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; links, anchors and the navigation are checked by it."""
    out = tmp_path_factory.mktemp("site")
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "PYTHONPATH": path, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return out


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]+rel="(?:stylesheet|icon|preconnect)"[^>]+href="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]+href="([^"]+)"[^>]+rel="(?:stylesheet|icon|preconnect)"', text)
        assert [address for address in loaded if "//" in address] == [], page.name
    styles = [style.read_text(encoding="utf-8") for style in site.rglob("*.css")]
    assert not any(re.search(r"(?:@import|url\()[^;)]*//", style) for style in styles)


@pytest.mark.slow
def test_every_loss_has_a_page_with_formula_gradient_and_code(site: Path) -> None:
    for record in list_losses():
        if record.function.__module__.startswith("lesionloss."):
            text = (site / "reference" / "losses" / f"{record.name}.html").read_text(encoding="utf-8")
            assert "<math" in text, record.name
            assert f'src="{record.name}.svg"' in text, record.name
            assert "ll.build" in re.sub(r"<[^>]+>", "", text), record.name


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_pages_have_no_serious_fault_and_fit_a_phone(site: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width in (1440, 390):
                context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
                page = context.new_page()
                asked = addresses(page)
                for name in LOOKED_AT:
                    page.goto((site / name).as_uri())
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
                    found = Axe().run(page).response["violations"]
                    faults = {
                        each["id"]: each["nodes"][0]["html"]
                        for each in found
                        if each["impact"] in ("serious", "critical")
                    }
                    assert faults == {}, (name, scheme, width)
                assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        browser.close()


def nav_pages(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for entry in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else []:
        yield from nav_pages(entry)


def test_every_page_of_the_repository_is_in_the_navigation() -> None:
    """What `make docs` finds in minutes."""
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(nav_pages(settings["nav"]))
    stored = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in stored - listed if not page.startswith("results/")} == set()


@pytest.mark.parametrize("name", ["ci", "docs"])
def test_workflows_are_yaml_with_jobs(name: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    assert all("runs-on" in job and "steps" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("name", ["bug", "feature", "loss"])
def test_issue_forms_have_what_the_syntax_needs(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    identifiers = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(set(identifiers)) == len(identifiers)
    assert all("label" in part["attributes"] for part in form["body"] if part["type"] != "markdown")
