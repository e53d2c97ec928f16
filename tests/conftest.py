"""What all tests share: a clean environment, and a list of the only skips that are allowed."""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from .cluster.fixture import cluster as cluster  # one for the whole run

_ALLOWED = Path(__file__).parent / "allowed_skips.txt"
STRICT = "CLOUD_FARM_STRICT_SKIPS"
CLUSTER = "CLOUD_FARM_CLUSTER"
GUI = "CLOUD_FARM_GUI"
_ASKED_FOR = {
    "cluster": "a Kubernetes of their own (root, Go, a quarter of an hour the first time)",
    "gui": "a Blender with a window (root, debootstrap, five minutes the first time)",
}
_LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what must be asked for."""
    parser.addoption(
        "--cluster",
        action="store_true",
        default=bool(os.environ.get(CLUSTER)),
        help=f"run the tests that need a Kubernetes of their own, as {CLUSTER}=1 does",
    )
    parser.addoption(
        "--gui",
        action="store_true",
        default=bool(os.environ.get(GUI)),
        help=f"run the tests in Blenders with a window, as {GUI}=1 does",
    )


def pytest_configure() -> None:
    """Let tests interrupt: what a shell starts in the background ignores it, and so would every program started from it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # after those who mark their tests
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what nobody asked for, and skip what needs Blender where there is none."""
    left_out = {
        marker: [item for item in items if item.get_closest_marker(marker) and not config.getoption(marker)]
        for marker in _ASKED_FOR
    }
    unwanted = {item for found in left_out.values() for item in found}
    if unwanted:
        config.hook.pytest_deselected(items=list(unwanted))
        items[:] = [item for item in items if item not in unwanted]
    config.stash[_LEFT_OUT] = {marker: len(found) for marker, found in left_out.items()}
    if importlib.util.find_spec("bpy") is not None:
        return
    for item in items:
        if item.get_closest_marker("blender"):
            item.add_marker(pytest.mark.skip(reason="needs Blender's Python module: uv sync --group bpy45"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one sentence what nobody asked for."""
    for marker, count in config.stash.get(_LEFT_OUT, {}).items():
        if count:
            terminalreporter.write_line(f"{count} tests need {_ASKED_FOR[marker]}: pass --{marker}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip that is not in the committed list into a failure, where CLOUD_FARM_STRICT_SKIPS asks for it."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(STRICT) and not _is_allowed(item.nodeid):
        report.outcome = "failed"
        report.longrepr = f"skipped, but not in {_ALLOWED.name}: {report.longrepr}"
    return report


def _is_allowed(nodeid: str) -> bool:
    """Each line: how a test id begins (`*` is any text), Python version or *, reason; separated by ` | `."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for line in _ALLOWED.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        test, where, _reason = (part.strip() for part in line.split("|", 2))
        if fnmatch.fnmatchcase(nodeid, f"{test}*") and where in ("*", version):
            return True
    return False


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's farms, Blender, proxies and keyring out of the tests."""
    for name in list(os.environ):
        if name.startswith("CLOUD_FARM_") and name != STRICT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setenv("CLOUD_FARM_HOME", str(tmp_path_factory.mktemp("home")))
