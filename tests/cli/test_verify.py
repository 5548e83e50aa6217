"""`lesionloss verify`."""

import json
import shutil
from pathlib import Path

import pytest

from make_run import TINY_CASES, Made, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Made(patients=2, losses=("dice",), difference=False, seeds=(1,), metrics=("dice",), **TINY_CASES)
    return make_run(tmp_path_factory.mktemp("verify") / "run", made)


def test_exit_code_lines_and_json(run, tmp_path, cli):
    own = shutil.copytree(run, tmp_path / "own")
    scores = next((own / "trials").glob("*/scores.csv"))
    scores.write_text(scores.read_text().replace("0.", "0.1"))
    code, out, _ = cli("verify", own)
    assert code == 1
    assert f"{scores}: changed: its checksum differs" in out
    code, out, _ = cli("verify", own, "--json")
    record = json.loads(out)
    assert code == 1
    assert not record["whole"]
    states = {entry["file"]: entry["state"] for entry in record["runs"][0]["findings"]}
    assert states[scores.relative_to(own).as_posix()] == "changed"
    code, _, err = cli("verify", tmp_path)
    assert code == 2
    assert "not a run folder" in err
