"""The notebooks of the documentation run, and the outputs that they hold are those of a run."""

import json
import re
from pathlib import Path

import pytest

from docs.execute_notebooks import FOLDER, execute

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST = 200_000  # bytes of a notebook

#: what a notebook says if all went well, besides its own assertions
SAID = {
    "table": ["alarms: none", "Its likelihood is bracketed", "report.html: verdict"],
    "own_model": ["nats: bracketed", "log Z: "],
    "rbm": ["nats: bracketed", "1000/1000", "log Z: "],
}


def outputs(notebook):
    """The outputs of each cell of code."""
    return [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(notebook):
    """What each output of each cell is: a stream, or the types of what is displayed."""
    return [[one.get("name") or sorted(one["data"]) for one in own] for own in outputs(notebook)]


def said(notebook):
    """All that a notebook prints, and all tables, without markup."""
    texts = [
        one["text"] if "text" in one else one["data"].get("text/html", "")
        for own in outputs(notebook)
        for one in own
    ]
    joined = ("".join(text) for text in texts)  # a file has the lines of a text as a list
    return re.sub("<[^>]*>", "", "\n".join(joined))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_holds_the_outputs_of_a_run(path, tmp_path):
    held = json.loads(path.read_text(encoding="utf-8"))
    done = execute(path, tmp_path)  # a cell that raises an error fails here
    assert kinds(done) == kinds(held)
    for words in SAID[path.stem]:
        assert words in said(done), words
        assert words in said(held), words


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_small_and_was_run_from_top_to_bottom(path):
    held = json.loads(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < MOST
    code = [cell for cell in held["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert code[0]["source"][0].startswith("import ")
    assert held["metadata"]["language_info"] == {"name": "python"}
    assert not any(one.get("name") == "stderr" for own in outputs(held) for one in own)
    assert "\x1b" not in said(held)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_what_a_notebook_links_to_exists(path):
    held = json.loads(path.read_text(encoding="utf-8"))
    text = "".join("".join(c["source"]) for c in held["cells"] if c["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#\s]+)", text)
    assert links
    for target in links:
        assert (path.parent / target).exists(), target
    assert f"notebooks/{path.stem}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
