"""Which device Cycles is given, and which one it says it used; cards are faked, Blender is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .farmyard import Ran, run_inside
from .stub_farm import INSIDE

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]


def answer_of(ran: Ran) -> Any:
    assert ran.code == 0, ran.output
    return json.loads(next(line for line in ran.output.splitlines() if line.startswith("ANSWER"))[7:])


_FAKE = """
import sys; sys.path.insert(0, {inside!r})
import json, types
import cycles_devices
class Device(types.SimpleNamespace): pass
def device(kind, name): return Device(type=kind, name=name, id=f'{{kind}}-{{name}}', use=kind == 'CPU')
class Prefs:
    known = {known!r}
    devices = [device('CPU', 'AMD'), device('CUDA', 'RTX 1'), device('CUDA', 'RTX 2'), device('OPTIX', 'RTX 1'), device('OPTIX', 'RTX 2')]
    compute_device_type = property(lambda self: self.chosen, lambda self, kind: self.choose(kind))
    def choose(self, kind):
        if kind not in (*self.known, 'NONE'): raise TypeError(kind)
        self.chosen = kind
    def refresh_devices(self): pass
    def get_devices_for_type(self, kind): return [d for d in self.devices if d.type in (kind, 'CPU')]
prefs = Prefs(); overrides = []
cycles_devices.preferences = lambda: prefs
cycles_devices._override = overrides.append
try:
    use = cycles_devices.enable({device!r}, with_cpu={with_cpu!r})
    answer = dict(type=use.type, name=use.name, on=sorted(d.id for d in prefs.devices if d.use), override=overrides, chosen=prefs.chosen)
except cycles_devices.DeviceAbsent as error:
    answer = dict(absent=str(error))
print('ANSWER', json.dumps(answer))
"""


def fake_devices(
    tmp_path: Path, device: str, *, with_cpu: bool = False, known: tuple[str, ...] = ("CUDA", "OPTIX", "HIP")
) -> dict[str, Any]:
    script = tmp_path / "fake.py"
    script.write_text(_FAKE.format(inside=str(INSIDE), device=device, with_cpu=with_cpu, known=known))
    return dict(answer_of(run_inside(script)))


def test_exactly_the_wanted_devices_are_enabled(tmp_path: Path) -> None:
    answer = fake_devices(tmp_path, "optix")
    assert answer["on"] == ["OPTIX-RTX 1", "OPTIX-RTX 2"]
    assert (answer["type"], answer["chosen"], answer["override"]) == ("OPTIX", "OPTIX", ["OPTIX"])
    both = fake_devices(tmp_path, "cuda", with_cpu=True)
    assert both["on"] == ["CPU-AMD", "CUDA-RTX 1", "CUDA-RTX 2"]
    assert both["override"] == ["CUDA+CPU"]
    assert fake_devices(tmp_path, "cpu")["override"] == ["CPU"]


def test_an_absent_device_is_a_sentence_that_lists_what_is_there(tmp_path: Path) -> None:
    for device in ("hip", "metal", "oneapi"):
        message = fake_devices(tmp_path, device)["absent"]
        assert f"no {device.upper()} device" in message
        assert "RTX 1, RTX 2" in message
        assert "--device" in message


def test_what_cycles_reports_wins_over_what_was_asked(tmp_path: Path) -> None:
    script = tmp_path / "report.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(INSIDE)!r})\nimport cycles_devices as c, json\n"
        "asked = c.DeviceUse('OPTIX', 'RTX', 'enforced')\n"
        "logs = ['', 'x\\nPath tracing on: AMD EPYC (CPU) (2 threads) [CPU]\\ny', 'Path tracing on: RTX 4000 [OPTIX]\\n',\n"
        "        'Path tracing on: RTX 4000 [OPTIX]\\nPath tracing on: AMD (CPU) [CPU]\\n']\n"
        "print('ANSWER', json.dumps([[u.type, u.evidence] for u in (c.reported(log, asked) for log in logs)]))\n"
    )
    answer = answer_of(run_inside(script))
    assert answer == [["OPTIX", "enforced"], ["CPU", "log"], ["OPTIX", "log"], ["CPU+OPTIX", "log"]]
