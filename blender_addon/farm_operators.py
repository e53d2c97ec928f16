"""What an artist or admin can do with farms: make one, change it, try it out, hand it on. The worker keeps the profiles.

Passwords pass through an operator's property, which Blender keeps neither in a file nor in its history, and are gone from it once
the worker has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from .cloud_farm.presets import PRESETS
from .preferences import LOCAL, chosen_farm, set_farm
from .registering import of_classes
from .session import SESSION, may_reach

_DONE, _NOT_DONE = {"FINISHED"}, {"CANCELLED"}
_NO_PRESET = "NONE"
_KINDS = (
    (_NO_PRESET, "None", "Labels and tolerations are in the profile itself"),
    *((name, name.replace("-", " ").title(), f"Labels and tolerations of the preset '{name}'") for name in PRESETS),
)
_DIALOG_PIXELS = 480
_SELDOM = frozenset({"ca_file", "sub_path", "store_prefix", "server", "token", "cluster_ca_file", "parallelism"})
_PRIVATE = {"SKIP_SAVE", "HIDDEN"}

TEXTS: Mapping[str, str] = {
    "url": "filebrowser.url", "user": "filebrowser.user", "ca_file": "filebrowser.ca_file", "claim": "volume.claim",
    "mount_path": "volume.mount_path", "sub_path": "volume.sub_path", "store_prefix": "volume.store_prefix",
    "kubeconfig": "kubernetes.kubeconfig", "context": "kubernetes.context", "namespace": "kubernetes.namespace",
    "server": "kubernetes.server", "cluster_ca_file": "kubernetes.ca_file", "argo_version": "argo_version",
}  # fmt: skip
"""A dialog's texts, and the values of a profile that they are."""
SECRETS: Mapping[str, str] = {"password": "filebrowser.password", "token": "kubernetes.token"}


def read_models(text: str) -> list[str] | None:
    """Return the models of GPUs that are listed with commas; None for none."""
    return [part.strip() for part in text.split(",") if part.strip()] or None


def read_images(text: str) -> dict[str, str] | None:
    """Return the images of `4.5=image, 5.0=image`; None for none.

    Raises:
        ValueError: A part is not written so.
    """
    found = {}
    for part in (part.strip() for part in text.split(",")):
        version, sign, image = (piece.strip() for piece in part.partition("="))
        if part and not (version and sign and image):
            raise ValueError(f"'{part}' is not written as 4.5=registry/blender:4.5")
        if part:
            found[version] = image
    return found or None


class _Secrets:
    """What a person types and nobody else may read."""

    password: bpy.props.StringProperty(
        name="Password",
        description="Kept in a file that only you can read, never in Blender's. Empty leaves it as it is",
        subtype="PASSWORD",
        options=_PRIVATE,
    )
    token: bpy.props.StringProperty(
        name="Token",
        description="For the API server. Kept like the password. Empty leaves it as it is",
        subtype="PASSWORD",
        options=_PRIVATE,
    )

    def take_secrets(self) -> dict[str, str]:
        """Return the secrets that were typed, and forget them here."""
        found = {key: str(getattr(self, field)) for field, key in SECRETS.items() if getattr(self, field)}
        for field in SECRETS:
            setattr(self, field, "")
        return found


class _FarmFields(_Secrets):
    """The values of a farm as a dialog has them."""

    kind: bpy.props.EnumProperty(
        name="Kind of Cluster", description="What its nodes are labelled with", items=_KINDS, options={"SKIP_SAVE"}
    )
    url: bpy.props.StringProperty(
        name="FileBrowser",
        description="Address of the FileBrowser on the farm's volume, https://files.example.com",
        options={"SKIP_SAVE"},
    )
    user: bpy.props.StringProperty(name="User", description="Who you are there", options={"SKIP_SAVE"})
    ca_file: bpy.props.StringProperty(
        name="CA File",
        description="Certificates to trust in place of the system's",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    claim: bpy.props.StringProperty(
        name="Volume Claim", description="The volume's PersistentVolumeClaim", options={"SKIP_SAVE"}
    )
    mount_path: bpy.props.StringProperty(
        name="Mount Path", description="Where the farm's machines see the volume", options={"SKIP_SAVE"}
    )
    sub_path: bpy.props.StringProperty(
        name="Folder in Claim", description="Folder of the claim that is mounted", options={"SKIP_SAVE"}
    )
    store_prefix: bpy.props.StringProperty(
        name="Folder in FileBrowser", description="The same folder as FileBrowser calls it", options={"SKIP_SAVE"}
    )
    kubeconfig: bpy.props.StringProperty(
        name="Kubeconfig",
        description="File with the way to the cluster; empty takes the usual one",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    context: bpy.props.StringProperty(
        name="Context", description="Of the kubeconfig; empty takes its current one", options={"SKIP_SAVE"}
    )
    namespace: bpy.props.StringProperty(name="Namespace", description="Where jobs run", options={"SKIP_SAVE"})
    server: bpy.props.StringProperty(
        name="API Server", description="The cluster's address, where there is no kubeconfig", options={"SKIP_SAVE"}
    )
    cluster_ca_file: bpy.props.StringProperty(
        name="Cluster CA", description="The API server's authority", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    models: bpy.props.StringProperty(
        name="GPU Models", description="As nodes are labelled, with commas; empty takes any", options={"SKIP_SAVE"}
    )
    images: bpy.props.StringProperty(
        name="Images",
        description="Container image of each Blender: 4.5=registry/blender:4.5, 5.0=registry/blender:5.0",
        options={"SKIP_SAVE"},
    )
    parallelism: bpy.props.IntProperty(
        name="Pods at a Time", description="0 sets no limit", default=0, min=0, soft_max=1000, options={"SKIP_SAVE"}
    )
    argo_version: bpy.props.StringProperty(
        name="Argo", description="Version of the cluster's Argo Workflows, 3.7.14", options={"SKIP_SAVE"}
    )

    show_all: bpy.props.BoolProperty(
        name="Show All", description="Show also what few farms need", options={"SKIP_SAVE"}
    )

    def typed_values(self) -> dict[str, Any]:
        """Return what is written in the dialog, by the profile's keys; None for what is empty.

        Raises:
            ValueError: The images are not written as they should be.
        """
        found: dict[str, Any] = {key: getattr(self, field).strip() or None for field, key in TEXTS.items()}
        found["preset"] = None if self.kind == _NO_PRESET else self.kind
        found["gpu.models"] = read_models(self.models)
        found["images"] = read_images(self.images)
        found["limits.parallelism"] = self.parallelism or None
        return found

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show a profile's values."""
        for field, key in TEXTS.items():
            setattr(self, field, str(values.get(key) or ""))
        self.kind = values.get("preset") or _NO_PRESET
        self.models = ", ".join(values.get("gpu.models") or ())
        self.images = images_text(values)
        self.parallelism = int(values.get("limits.parallelism") or 0)

    def draw_fields(self, layout: bpy.types.UILayout) -> None:
        """Draw them in groups; what few farms need, and is not set, only when it is asked for: small windows are low."""
        layout.use_property_split = True
        for title, fields in (
            ("Volume", ("url", "user", "password", "ca_file", "claim", "mount_path", "sub_path", "store_prefix")),
            (
                "Kubernetes",
                ("kubeconfig", "context", "namespace", "server", "token", "cluster_ca_file", "argo_version"),
            ),
            ("Machines", ("kind", "models", "images", "parallelism")),
        ):
            layout.label(text=title)
            column = layout.column(align=True)
            for field in fields:
                if self.show_all or field not in _SELDOM or getattr(self, field):
                    column.prop(self, field)
        layout.prop(self, "show_all")


def images_text(values: Mapping[str, Any]) -> str:
    """Return a profile's images as the dialog shows them."""
    images = {version: _reference(image) for version, image in (values.get("images") or {}).items()}
    return ", ".join(f"{version}={image}" for version, image in images.items())


def _reference(image: Any) -> str:
    return str(image.get("image", "")) if isinstance(image, Mapping) else str(image)


def _known_values(farm: str) -> dict[str, Any]:
    profile = SESSION.farms.profiles.get(farm)
    return {key: found["value"] for key, found in profile["values"].items()} if profile else {}


def _choose(farm: str) -> None:
    set_farm(bpy.context, farm)


class CLOUDFARM_OT_add_farm(_FarmFields, bpy.types.Operator):
    """Make a profile of a farm that is reached over the network"""

    bl_idname = "cloud_farm.add_farm"
    bl_label = "Add Farm"
    bl_options = {"INTERNAL"}

    farm: bpy.props.StringProperty(
        name="Name", description="What the farm is called here: letters, digits, '-' and '_'", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, _event: Any) -> Any:
        assert context.window_manager is not None
        return context.window_manager.invoke_props_dialog(self, width=_DIALOG_PIXELS)

    def draw(self, _context: Any) -> None:
        """Draw the dialog."""
        layout = self.layout
        assert layout is not None
        layout.use_property_split = True
        layout.prop(self, "farm")
        self.draw_fields(layout)

    def execute(self, _context: bpy.types.Context) -> Any:
        try:
            values = {key: value for key, value in self.typed_values().items() if value is not None}
        except ValueError as error:
            self.report({"ERROR"}, str(error))
            return _NOT_DONE
        if self.farm in SESSION.farms.names:
            self.report({"ERROR"}, f"There is a farm '{self.farm}' already")
            return _NOT_DONE
        # A preset says engine and store; without one, a farm that is added here is one on a cluster.
        kind = {} if "preset" in values else {"engine": "argo", "store": "filebrowser"}
        SESSION.farms.save(str(self.farm), {**kind, **values}, self.take_secrets(), then=_choose)
        return _DONE


class CLOUDFARM_OT_edit_farm(_FarmFields, bpy.types.Operator):
    """Change the profile of the chosen farm"""

    bl_idname = "cloud_farm.edit_farm"
    bl_label = "Edit Farm"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return chosen_farm(context) != LOCAL and chosen_farm(context) in SESSION.farms.profiles

    def invoke(self, context: bpy.types.Context, _event: Any) -> Any:
        assert context.window_manager is not None
        self.fill(_known_values(chosen_farm(context)))
        return context.window_manager.invoke_props_dialog(self, width=_DIALOG_PIXELS)

    def draw(self, _context: Any) -> None:
        """Draw the dialog."""
        assert self.layout is not None
        self.draw_fields(self.layout)

    def execute(self, context: bpy.types.Context) -> Any:
        farm = chosen_farm(context)
        known = _known_values(farm)
        try:
            values = self.typed_values()
        except ValueError as error:
            self.report({"ERROR"}, str(error))
            return _NOT_DONE
        if self.images == images_text(known):
            values["images"] = known.get("images") or None  # they may say more than a dialog shows
        # What a studio's file or a preset says stays theirs: only what differs is written into the user's own.
        changed = {key: value for key, value in values.items() if value != (known.get(key) or None)}
        SESSION.farms.save(farm, changed, self.take_secrets())
        return _DONE


class CLOUDFARM_OT_test_farm(bpy.types.Operator):
    """See whether the chosen farm's volume answers, Kubernetes, and Argo"""

    bl_idname = "cloud_farm.test_farm"
    bl_label = "Test"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not may_reach(chosen_farm(context)):
            cls.poll_message_set("Allow Online Access in Preferences, System, Network")
            return False
        return not SESSION.farms.is_testing

    def execute(self, context: bpy.types.Context) -> Any:
        SESSION.farms.try_out(chosen_farm(context))
        return _DONE


class _OnFarmElsewhere:
    """Something that is done with a farm that has a profile of its own."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return chosen_farm(context) != LOCAL


class _WithFile:
    """Something that asks for a profile's file first."""

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.yaml;*.yml", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        assert context.window_manager is not None
        context.window_manager.fileselect_add(self)  # type: ignore[arg-type]
        return {"RUNNING_MODAL"}


class CLOUDFARM_OT_import_farm(_Secrets, _WithFile, bpy.types.Operator):
    """Take in the profile of a farm that an admin gave you; passwords are yours to give, here or later"""

    bl_idname = "cloud_farm.import_farm"
    bl_label = "Import Farm"
    bl_options = {"INTERNAL"}

    def draw(self, _context: Any) -> None:
        """Draw beside the list of files what the artist gives besides."""
        layout = self.layout
        assert layout is not None
        layout.use_property_split = True
        layout.prop(self, "password")
        layout.prop(self, "token")

    def execute(self, _context: Any) -> Any:
        SESSION.farms.take_in(bpy.path.abspath(self.filepath), self.take_secrets(), then=_choose)
        return _DONE


class CLOUDFARM_OT_export_farm(_OnFarmElsewhere, _WithFile, bpy.types.Operator):
    """Write the profile of the chosen farm for others; passwords stay here"""

    bl_idname = "cloud_farm.export_farm"
    bl_label = "Export Farm"
    bl_options = {"INTERNAL"}

    check_existing: bpy.props.BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        self.filepath = f"{chosen_farm(context)}.yaml"
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> Any:
        SESSION.farms.hand_on(chosen_farm(context), bpy.path.ensure_ext(bpy.path.abspath(self.filepath), ".yaml"))
        return _DONE


class CLOUDFARM_OT_remove_farm(_OnFarmElsewhere, bpy.types.Operator):
    """Remove the profile of the chosen farm from this computer; the farm and its jobs stay"""

    bl_idname = "cloud_farm.remove_farm"
    bl_label = "Remove Farm"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        assert context.window_manager is not None
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> Any:
        SESSION.farms.remove(chosen_farm(context))
        set_farm(context, LOCAL)
        return _DONE


_CLASSES = (
    CLOUDFARM_OT_add_farm, CLOUDFARM_OT_edit_farm, CLOUDFARM_OT_test_farm, CLOUDFARM_OT_import_farm, CLOUDFARM_OT_export_farm,
    CLOUDFARM_OT_remove_farm,
)  # fmt: skip

register, unregister = of_classes(_CLASSES)
