"""What a job can be asked for by name. Apart from the job itself: Blender's tooltips need these words, and at once."""

from __future__ import annotations

DEVICES = ("auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal")
MOVIE_FORMATS = frozenset({"AVI_JPEG", "AVI_RAW", "FFMPEG"})
STILL_FORMATS = (
    "PNG", "JPEG", "OPEN_EXR", "OPEN_EXR_MULTILAYER", "TIFF", "WEBP", "BMP", "TARGA", "TARGA_RAW", "HDR", "DPX", "CINEON", "JPEG2000", "IRIS",
)  # fmt: skip
