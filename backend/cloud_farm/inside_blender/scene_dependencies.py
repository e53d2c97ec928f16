"""Files that Blender reads although no datablock of their own stands for them: strips, lamp profiles, shaders, caches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import bpy  # type: ignore[import-not-found,unused-ignore]

UsedFile = tuple[Any, str, str]
"""(datablock, path as stored, absolute path)."""


def used_files() -> Iterator[UsedFile]:
    """Yield the files and cache folders that the scene's strips, nodes and modifiers read."""
    for scene in bpy.data.scenes:
        yield from _strip_files(scene)
        if scene.rigidbody_world is not None:
            yield from _point_cache(scene, scene.rigidbody_world.point_cache)
    for owner, tree in _node_trees():
        yield from _node_files(owner, tree)
    for obj in bpy.data.objects:
        if obj.users:
            yield from _object_files(obj)


def unbaked_simulations() -> Iterator[str]:
    """Yield the objects whose simulation is computed while rendering: frames rendered apart would not agree."""
    for obj in bpy.data.objects:
        if any(_is_unbaked(modifier) for modifier in obj.modifiers if modifier.show_render):
            yield f"Object '{obj.name}'"


def absolute(path: str, library: Any) -> str:
    """Resolve a stored path as Blender does."""
    return os.path.normpath(str(bpy.path.abspath(path, library=library)))


def point_caches(obj: Any) -> Iterator[Any]:
    """Yield every point cache of an object: cloth, soft bodies, dynamic paint, particles."""
    for modifier in obj.modifiers:
        if modifier.type in ("CLOTH", "SOFT_BODY"):
            yield modifier.point_cache
        elif modifier.type == "DYNAMIC_PAINT" and modifier.canvas_settings is not None:
            yield from (surface.point_cache for surface in modifier.canvas_settings.canvas_surfaces)
    yield from (system.point_cache for system in obj.particle_systems)


def _strip_files(scene: Any) -> Iterator[UsedFile]:
    editor = scene.sequence_editor if scene.render.use_sequencer else None
    strips = getattr(editor, "strips_all", None) or getattr(editor, "sequences_all", None) or ()  # 4.2 has the latter
    for strip in strips:
        if strip.mute:
            continue
        if strip.type == "MOVIE":
            yield scene, strip.filepath, absolute(strip.filepath, scene.library)
        elif strip.type == "IMAGE":
            for element in strip.elements:
                stored = os.path.join(strip.directory, element.filename)
                yield scene, stored, absolute(stored, scene.library)


def _node_trees() -> Iterator[tuple[Any, Any]]:
    """(datablock that people know, its node tree)."""
    for collection in ("materials", "worlds", "lights"):
        for owner in getattr(bpy.data, collection):
            if owner.users and owner.node_tree is not None:
                yield owner, owner.node_tree
    for group in bpy.data.node_groups:
        if group.users:
            yield group, group


def _node_files(owner: Any, tree: Any) -> Iterator[UsedFile]:
    for node in tree.nodes:
        if node.mute:
            continue
        stored = ""
        if node.bl_idname in ("ShaderNodeTexIES", "ShaderNodeScript") and node.mode == "EXTERNAL":
            stored = node.filepath
        elif node.bl_idname.startswith("GeometryNodeImport") and "Path" in node.inputs:
            socket = node.inputs["Path"]
            stored = "" if socket.is_linked else socket.default_value
        if stored:
            yield owner, stored, absolute(stored, owner.library)


def _object_files(obj: Any) -> Iterator[UsedFile]:
    for modifier in obj.modifiers:
        stored = _modifier_path(modifier) if modifier.show_render else ""
        if stored:
            yield obj, stored, absolute(stored, obj.library)
    for cache in point_caches(obj):
        yield from _point_cache(obj, cache)


def _modifier_path(modifier: Any) -> str:
    """The file or folder that a modifier reads instead of computing."""
    if modifier.type == "MESH_CACHE":
        return str(modifier.filepath)
    if modifier.type == "OCEAN" and modifier.is_cached:
        return str(modifier.filepath)
    if modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN":
        domain = modifier.domain_settings
        return str(domain.cache_directory) if _fluid_is_baked(domain) else ""
    return ""


def _point_cache(owner: Any, cache: Any) -> Iterator[UsedFile]:
    if cache is None or not (cache.is_baked or cache.use_external):
        return
    if cache.use_external:
        yield owner, cache.filepath, absolute(cache.filepath, owner.library)
    elif cache.use_disk_cache:
        blend = bpy.path.basename(owner.library.filepath if owner.library else bpy.data.filepath)
        stored = f"//blendcache_{os.path.splitext(blend)[0]}"
        yield owner, stored, absolute(stored, owner.library)


def _fluid_is_baked(domain: Any) -> bool:
    return bool(domain.has_cache_baked_any)


def _is_unbaked(modifier: Any) -> bool:
    if modifier.type == "FLUID":
        return modifier.fluid_type == "DOMAIN" and not _fluid_is_baked(modifier.domain_settings)
    if modifier.type == "NODES":
        return _has_simulation(modifier.node_group, set()) and not _nodes_are_baked(modifier)
    cache = getattr(modifier, "point_cache", None)
    return cache is not None and not (cache.is_baked or cache.use_external)


def _has_simulation(tree: Any, seen: set[str]) -> bool:
    if tree is None or tree.name_full in seen:
        return False
    seen.add(tree.name_full)
    groups = [node.node_tree for node in tree.nodes if node.bl_idname == "GeometryNodeGroup"]
    return any(node.bl_idname == "GeometryNodeSimulationOutput" for node in tree.nodes) or any(
        _has_simulation(group, seen) for group in groups
    )


def _nodes_are_baked(modifier: Any) -> bool:
    """Blender does not tell whether a bake is there; one that is packed, or a folder with files, is."""
    bakes = list(getattr(modifier, "bakes", ()))
    if any(getattr(bake, "bake_target", "") == "PACKED" for bake in bakes):
        return True
    library = modifier.id_data.library
    folders = [modifier.bake_directory, *(bake.directory for bake in bakes if bake.use_custom_path)]
    return any(folder and os.path.isdir(absolute(folder, library)) for folder in folders)
