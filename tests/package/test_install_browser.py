"""`make test` goes on where no browser can be installed, and says so."""

import subprocess
from pathlib import Path

from linked_venv import ROOT


def test_a_machine_without_a_browser_is_told_and_the_tests_go_on(tmp_path: Path) -> None:
    for name, body in {"apt-get": "exit 100", "id": "echo 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    ran = subprocess.run(
        ["/bin/sh", ROOT / "tests" / "install_browser.sh"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert ran.returncode == 0
    assert "the tests of the page in a browser will be skipped" in ran.stderr
