"""The reference: renders a file as `blender -b FILE -o OUTPUT -a` does, and imports nothing of ours.

    <launcher> -b --factory-startup --python reference_render.py -- FILE OUTPUT [FRAME …]

With frames it does what `-f` does: those frames, the scene's range left alone.
"""

import sys

import bpy

blend, output, *frames = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.open_mainfile(filepath=blend, load_ui=False)
scene = bpy.context.scene
scene.render.filepath = output
if not frames:
    bpy.ops.render.render(animation=True)
for frame in frames:
    scene.frame_set(int(frame))
    scene.render.filepath = output.replace("####", f"{int(frame):04d}")
    bpy.ops.render.render(write_still=True)
