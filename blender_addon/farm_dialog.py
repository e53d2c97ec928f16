"""The dialog of a farm: what is typed in it, how it is drawn, and how a profile's values get into it and out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from .cloud_farm.presets import PRESETS

_NO_PRESET = "NONE"
_KINDS = (
    (_NO_PRESET, "None", "Labels and tolerations are in the profile itself"),
    *((name, name.replace("-", " ").title(), f"Labels and tolerations of the preset '{name}'") for name in PRESETS),
)
_SELDOM = frozenset({"ca_file", "sub_path", "store_prefix", "server", "token", "cluster_ca_file", "parallelism"})
_PRIVATE = {"SKIP_SAVE", "HIDDEN"}
AS_TYPED = {"SKIP_SAVE", "TEXTEDIT_UPDATE"}
"""Of what is checked while it is typed."""

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


class Secrets:
    """What a person types and nobody else may read."""

    password: bpy.props.StringProperty(
        name="Password",
        description="Kept where Cloud Farm's preferences say, in none of Blender's files. Empty leaves it as it is",
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


class FarmFields(Secrets):
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
        options=AS_TYPED,
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

    def why_no_images(self) -> str:
        """Return why the images can't be read; empty if they can."""
        try:
            read_images(self.images)
        except ValueError as error:
            return str(error)
        return ""

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
                if field == "images":
                    draw_refusal(column, self.why_no_images())
        layout.prop(self, "show_all")


def draw_refusal(layout: bpy.types.UILayout, why: str) -> None:
    """Draw why what was typed can't be taken; nothing where it can."""
    if why:
        row = layout.row()
        row.alert = True
        row.label(text=why, icon="ERROR", translate=False)


def refuse(dialog: Any, why: str, again: str) -> Any:
    """Refuse what was typed, and have it back to be mended: Blender closes a dialog whatever comes of it.

    Args:
        dialog: The operator; it says in its drawing what is wrong.
        again: Name of what opens it.
    """
    if bpy.app.background:
        dialog.report({"ERROR"}, why)
    else:
        ours: Any = bpy.ops.cloud_farm  # type: ignore[attr-defined]
        getattr(ours, again)("INVOKE_DEFAULT", **dialog.as_keywords())
    return {"CANCELLED"}


def images_text(values: Mapping[str, Any]) -> str:
    """Return a profile's images as the dialog shows them."""
    images = {version: _reference(image) for version, image in (values.get("images") or {}).items()}
    return ", ".join(f"{version}={image}" for version, image in images.items())


def _reference(image: Any) -> str:
    return str(image.get("image", "")) if isinstance(image, Mapping) else str(image)
