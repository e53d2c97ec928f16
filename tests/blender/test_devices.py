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
import bpy, json, _cycles
import cycles_devices
CARDS = [('AMD', 'CPU')] + [(name, kind) for kind in ('CUDA', 'OPTIX') for name in ('RTX 1', 'RTX 2')]
listed = [(name, kind, f'{{kind}}-{{name}}', *[False] * 8) for name, kind in CARDS]
_cycles.available_devices = lambda wanted: [card for card in listed if card[1] in (wanted, 'CPU') or not wanted]
overrides = []
_cycles.set_device_override = overrides.append
try:
    use = cycles_devices.enable({device!r}, with_cpu={with_cpu!r})
except cycles_devices.DeviceAbsent as error:
    answer = dict(absent=str(error))
else:
    prefs = bpy.context.preferences.addons['cycles'].preferences
    on = [d.id for d in prefs.get_devices_for_type(prefs.compute_device_type) if d.use]
    answer = dict(type=use.type, name=use.name, on=sorted(on), override=overrides, chosen=prefs.compute_device_type,
                  gpus=prefs.get_num_gpu_devices())
    bpy.context.scene.render.engine = 'CYCLES'
    other = bpy.data.scenes.new('Other'); other.render.engine = 'CYCLES'
    cycles_devices.use_for(list(bpy.data.scenes), {device!r})
    answer['scenes'] = sorted({{scene.cycles.device for scene in bpy.data.scenes}})
print('ANSWER', json.dumps(answer))
"""


def with_cards(tmp_path: Path, device: str, *, with_cpu: bool = False) -> dict[str, Any]:
    """Choose a device on a machine that has two cards; the preferences are Blender's own, only the cards are faked."""
    script = tmp_path / "fake.py"
    script.write_text(_FAKE.format(inside=str(INSIDE), device=device, with_cpu=with_cpu))
    return dict(answer_of(run_inside(script)))


def test_exactly_the_wanted_devices_are_enabled(tmp_path: Path) -> None:
    answer = with_cards(tmp_path, "optix")
    assert answer["on"] == ["OPTIX-RTX 1", "OPTIX-RTX 2"]
    assert (answer["type"], answer["chosen"], answer["override"]) == ("OPTIX", "OPTIX", ["OPTIX"])
    assert (answer["name"], answer["gpus"], answer["scenes"]) == ("RTX 1, RTX 2", 2, ["GPU"])
    both = with_cards(tmp_path, "cuda", with_cpu=True)
    assert both["on"] == ["CPU-AMD", "CUDA-RTX 1", "CUDA-RTX 2"]
    assert both["override"] == ["CUDA+CPU"]
    cpu = with_cards(tmp_path, "cpu")
    assert (cpu["override"], cpu["chosen"], cpu["gpus"], cpu["scenes"]) == (["CPU"], "NONE", 0, ["CPU"])


def test_an_absent_device_is_a_sentence_that_lists_what_is_there(tmp_path: Path) -> None:
    for device in ("hip", "metal", "oneapi"):
        message = with_cards(tmp_path, device)["absent"]
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
