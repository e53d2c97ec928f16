"""What travels with a scene (how it is to be rendered), and what lives as long as Blender does (the jobs that are listed)."""

from __future__ import annotations

from typing import Any

import bpy

from .cloud_farm.options import TOOLTIPS

DEVICES = (
    ("auto", "As the Farm Has It", "What the farm's machines render on"),
    ("cpu", "CPU", "Processors"),
    ("cuda", "CUDA", "NVIDIA cards"),
    ("optix", "OptiX", "NVIDIA cards of the RTX family"),
    ("hip", "HIP", "AMD cards"),
    ("oneapi", "oneAPI", "Intel cards"),
    ("metal", "Metal", "Apple's graphics"),
)
RANGES = (
    ("SCENE", "Scene", "The scene's frame range, with its step"),
    ("PREVIEW", "Preview Range", "The timeline's preview range, with the scene's step"),
    ("CURRENT", "Current Frame", "Only the frame that is shown"),
    ("CUSTOM", "Custom", "Frames of your own choice"),
)


def is_among(objects: Any, wanted: bpy.types.Object) -> bool:
    """Whether an object is one of a scene's or a view layer's; quick unless something of a library is called as it is."""
    found = objects.get(wanted.name)
    return found == wanted or (found is not None and any(item == wanted for item in objects))


def _is_camera(settings: bpy.types.PropertyGroup, candidate: bpy.types.Object) -> bool:
    return candidate.type == "CAMERA" and is_among(settings.id_data.objects, candidate)


def _follow_or_not(_self: object, _context: bpy.types.Context) -> None:
    from .image_viewer import refresh_all

    refresh_all()


class CloudFarmSceneSettings(bpy.types.PropertyGroup):
    """How a scene is to be rendered on a farm"""

    frames: bpy.props.EnumProperty(
        name="Frames", description="Which frames are rendered", items=RANGES, default="SCENE"
    )
    custom_frames: bpy.props.StringProperty(
        name="Custom Frames",
        description="Frames and ranges with commas between them, a step behind an x: 1-50, 75, 100-200x5",
        default="1-250",
        options={"TEXTEDIT_UPDATE"},  # what is wrong with them is told as one types
    )
    camera: bpy.props.PointerProperty(
        name="Camera",
        description=TOOLTIPS["camera"],
        type=bpy.types.Object,
        poll=_is_camera,
    )
    device: bpy.props.EnumProperty(name="Device", description=TOOLTIPS["device"], items=DEVICES, default="auto")
    use_view_layers: bpy.props.BoolProperty(
        name="Override View Layers", description="Render other view layers than those that the scene renders"
    )
    use_samples: bpy.props.BoolProperty(name="Override Samples", description="Take other samples than the scene's")
    samples: bpy.props.IntProperty(name="Samples", description=TOOLTIPS["samples"], default=128, min=1, soft_max=4096)
    use_percentage: bpy.props.BoolProperty(
        name="Override Resolution", description="Take another resolution percentage than the scene's"
    )
    percentage: bpy.props.IntProperty(
        name="Resolution",
        description=TOOLTIPS["percentage"],
        subtype="PERCENTAGE",
        default=50,
        min=1,
        soft_max=100,
        max=32767,
    )
    chunk_size: bpy.props.IntProperty(
        name="Frames per Chunk",
        description=f"{TOOLTIPS['chunk_size']}; 0 lets the farm choose",
        default=0,
        min=0,
        soft_max=100,
    )


class CloudFarmLayerSettings(bpy.types.PropertyGroup):
    """What a farm does with a view layer"""

    use: bpy.props.BoolProperty(
        name="Use for Cloud Farm", description="Render this view layer on the farm", default=True
    )


class CloudFarmJob(bpy.types.PropertyGroup):
    """A job in the list; `name` is its id"""

    title: bpy.props.StringProperty(name="Title")
    farm: bpy.props.StringProperty(name="Farm")
    state: bpy.props.StringProperty(name="State")
    owner: bpy.props.StringProperty(name="Owner")
    done: bpy.props.IntProperty(name="Finished Frames")
    failed: bpy.props.IntProperty(name="Failed Frames")
    total: bpy.props.IntProperty(name="Frames")
    created: bpy.props.StringProperty(name="Sent At")
    seconds_left: bpy.props.FloatProperty(name="Seconds Left", default=-1.0)


class CloudFarmState(bpy.types.PropertyGroup):
    """What is listed in this Blender"""

    jobs: bpy.props.CollectionProperty(type=CloudFarmJob)
    active_job: bpy.props.IntProperty(name="Active Job", description="Job whose details are shown")
    follow_newest: bpy.props.BoolProperty(
        name="Follow Newest Frame", description="Show each frame as it comes in", default=True, update=_follow_or_not
    )


_CLASSES = (CloudFarmSceneSettings, CloudFarmLayerSettings, CloudFarmJob, CloudFarmState)


def settings_of(scene: bpy.types.Scene | None) -> CloudFarmSceneSettings:
    """Return a scene's settings."""
    assert scene is not None
    return scene.cloud_farm  # type: ignore[attr-defined, no-any-return]


def camera_elsewhere(scene: bpy.types.Scene) -> bpy.types.Object | None:
    """Return the camera that is to be taken in place of the scene's, if that is deleted or another scene's by now."""
    camera = settings_of(scene).camera
    return camera if camera is not None and not is_among(scene.objects, camera) else None


def chosen_layers(scene: bpy.types.Scene) -> tuple[str, ...] | None:
    """Return the view layers that are rendered in place of those that the scene renders; None leaves it to the scene."""
    if not settings_of(scene).use_view_layers:
        return None
    return tuple(layer.name for layer in scene.view_layers if layer.cloud_farm.use)  # type: ignore[attr-defined]


def state_of(context: bpy.types.Context) -> CloudFarmState:
    """Return what is listed."""
    manager = context.window_manager
    assert manager is not None
    return manager.cloud_farm  # type: ignore[attr-defined, no-any-return]


def register() -> None:
    """Register the properties."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.cloud_farm = bpy.props.PointerProperty(type=CloudFarmSceneSettings)  # type: ignore[attr-defined, func-returns-value]
    bpy.types.ViewLayer.cloud_farm = bpy.props.PointerProperty(type=CloudFarmLayerSettings)  # type: ignore[attr-defined, func-returns-value]
    bpy.types.WindowManager.cloud_farm = bpy.props.PointerProperty(type=CloudFarmState)  # type: ignore[attr-defined, func-returns-value]


def unregister() -> None:
    """Remove them; a scene keeps what it was given, for when the add-on comes back."""
    del bpy.types.WindowManager.cloud_farm  # type: ignore[attr-defined]
    del bpy.types.ViewLayer.cloud_farm  # type: ignore[attr-defined]
    del bpy.types.Scene.cloud_farm  # type: ignore[attr-defined]
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
