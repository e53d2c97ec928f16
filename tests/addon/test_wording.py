"""What the panel says in place of a command: every sentence of the backend, none of which may send an artist to a terminal."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

_ROOT = Path(__file__).parents[2]
_BACKEND = _ROOT / "backend" / "cloud_farm"
_OF_THE_COMMAND_LINE = ("cli", "options", "copying", "gc", "mirror")
"""Modules whose sentences only the command line says."""
_TERMINAL = re.compile(
    r"cloud-farm [a-z]+ ?|(?<![\w-])--[a-z]|(?<!\w)-o\b|kubectl|Ctrl-C|uv sync|(?<!\w)CLOUD_FARM_[A-Z]+"
)
JOB = "shot-20261129-abc123"


@pytest.fixture(scope="module")
def wording() -> ModuleType:
    """The module, which needs no Blender."""
    spec = importlib.util.spec_from_file_location("wording_alone", _ROOT / "blender_addon" / "wording.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sentences() -> Iterator[str]:
    """Yield the texts of the backend that name something of a terminal, values filled in."""
    for path in sorted(_BACKEND.rglob("*.py")):
        if path.stem.split("_")[0] in _OF_THE_COMMAND_LINE:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in inner | notes:
                text = filled(node)
                if _TERMINAL.search(text) and " " in text and (text[0].isupper() or text[0] in " -"):
                    yield text


def filled(node: ast.expr) -> str:
    """Return a text with something in place of its values."""
    if isinstance(node, ast.JoinedStr):
        return "".join(filled(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return JOB if "job" in (name := ast.unparse(node.value)) or "planned" in name or "doc" in name else "x"
    return str(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


FOUND = sorted(set(sentences()))


def test_there_are_such_sentences() -> None:
    assert len(FOUND) > 25


@pytest.mark.parametrize("text", FOUND)
def test_no_sentence_sends_an_artist_to_a_terminal(wording: ModuleType, text: str) -> None:
    said = wording.worded(text)
    assert not _TERMINAL.search(said), said
    assert "  " not in said and not said.rstrip().endswith((" with", ":", ",")), said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"Frames are missing. Render them with: cloud-farm retry {JOB}", "Frames are missing. Render them with Retry."),
        (f"Gone. Clear it away with: cloud-farm delete --yes {JOB}", "Gone. Clear it away with Delete."),
        (f"Render the frame again: cloud-farm retry {JOB} --force", "Render the frame again: Render Frames Again."),
        ("No room. Free some space: cloud-farm delete --older-than 30d. Or less.", "No room. Free some space: delete old jobs. Or less."),
        (f"It was submitted. Follow it with: cloud-farm follow {JOB}", "It was submitted."),
        ("Bring it back, or allow it to be absent: --allow-missing 'a b.png'", "Bring it back."),
        ("The cloud-farm folder is not writable.", "The cloud-farm folder is not writable."),
    ],
)  # fmt: skip
def test_the_button_takes_the_place_of_the_command(wording: ModuleType, text: str, said: str) -> None:
    assert wording.worded(text) == said


def test_only_sentences_are_changed(wording: ModuleType) -> None:
    text = f"Go on with: cloud-farm resume {JOB}"
    line = {"id": 1, "result": {"job": JOB, "message": text, "title": text, "messages": [text]}}
    assert wording.reword(line) == {
        "id": 1, "result": {"job": JOB, "message": "Go on with Resume.", "title": text, "messages": ["Go on with Resume."]},
    }  # fmt: skip


def test_jobs_of_a_list_are_left_for_who_shows_one(wording: ModuleType) -> None:
    """There may be thousands, and one of their sentences is read."""
    jobs = [{"id": JOB, "message": f"Go on with: cloud-farm resume {JOB}"}] * 2000
    assert wording.reword({"id": 1, "result": {"jobs": jobs}})["result"]["jobs"] is jobs


def test_a_sentence_is_worded_once_however_often_it_is_told(wording: ModuleType) -> None:
    before = wording.worded.cache_info().misses
    for _ in range(100):
        wording.reword({"id": 1, "event": {"messages": ["It is told with each frame."]}})
    assert wording.worded.cache_info().misses == before + 1
