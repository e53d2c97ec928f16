"""What every turn of the add-on takes of Blender's main thread while a large scene is sent and many frames come, against 16 ms.

uv run python benchmarks/bench_ticks.py [--mebibytes 1024] [--frames 2000] [--pause 0.05] [--stores filebrowser folder] [--folder DIR]

The real add-on in a real Blender; the volume is behind a real FileBrowser, then a folder. Frames are not rendered: a process of its own publishes
them, as renderers do. A picture at 60 Hz has 16 ms; a turn that takes longer is one that an artist might feel. Only the copy of the
scene that is saved first may take longer; it is announced in the panel. On a machine that does other things besides, the clock also
counts while they have the core: "undisturbed" leaves out turns in which that happened.
"""

from __future__ import annotations

from collections.abc import Sequence

from addon_bench import arguments, drive, farm, percentile, work_folder

_FRAME_MS = 16.0


def show(title: str, turns: Sequence[Sequence[float]]) -> None:
    """Print what turns took, by the clock, where nobody took the core meanwhile, and of own work; and why some were long."""
    for name, spent in (
        ("by the clock", [turn[0] for turn in turns]),
        ("undisturbed", [turn[0] for turn in turns if not turn[2]]),
        ("own work", [turn[1] for turn in turns]),
    ):
        if not spent:
            continue
        middle, last, most = (percentile(spent, part) * 1e3 for part in (0.5, 0.99, 1.0))
        print(
            f"{title:<16} {name:<13} {len(spent):6} turns  median {middle:6.2f}  p99 {last:6.2f} {last / _FRAME_MS:5.2f}x"
            f"  max {most:6.2f} ms {most / _FRAME_MS:5.2f}x"
        )
    slow = sorted((turn for turn in turns if turn[0] * 1e3 > _FRAME_MS), key=lambda turn: -turn[0])
    for clock, own, taken_away, waited in slow[:5]:
        print(
            f"  {clock * 1e3:6.2f} ms: {own * 1e3:.2f} ms own work, waited {waited} times, lost the core {taken_away} times"
        )


def main() -> None:
    """Measure and print."""
    words = arguments(mebibytes=1024, frames=2000, pause=0.05)
    for store in words.stores:
        with work_folder(words.folder) as folder, farm(folder, store=store) as volume:
            plan = {"mebibytes": words.mebibytes, "frames": words.frames, "pause": words.pause, "volume": str(volume)}
            found = drive(folder, plan, wheels=words.wheels)
        print(
            f"Blender {found['blender']}, {store}; {words.mebibytes} MiB of textures, {words.frames} frames; anchor {_FRAME_MS:g} ms"
        )
        print(f"the copy of the scene is saved in {found['saving'] * 1e3:.0f} ms")
        for title, turns in found["turns"].items():
            show(title, turns)


if __name__ == "__main__":
    main()
