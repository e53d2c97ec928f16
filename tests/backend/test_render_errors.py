"""What is made of the errors of Blender and Cycles: which fail a frame, which blame the device, what people read."""

from __future__ import annotations

import pytest

from ..blender.stub_farm import INSIDE

import render_errors  # isort: skip - a script of inside_blender: stub_farm knows where

assert INSIDE.is_dir()
LONGEST = 300
"""Letters that Argo keeps of an attempt's last words."""
GPU_FULL = [
    "System is out of GPU memory",
    "System is out of GPU and shared host memory",
    "Out of memory in cuMemAlloc_v2(&device_pointer, size) (intern/cycles/device/cuda/device_impl.cpp:470)",
    "Out of memory in hipMalloc(&device_pointer, size)",
    "CUDA error: Out of memory in cuLaunchKernel",
    "CUDA_ERROR_OUT_OF_MEMORY in optixLaunch",
    "OPTIX_ERROR_DEVICE_OUT_OF_MEMORY in optixAccelBuild",
    "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
    "Failed to create texture. Maximum GPU texture size or available GPU memory was likely exceeded.",
    "Could not allocate shadow atlas. Most likely out of GPU memory.",
    "Unable to allocate vertex buffer. Most likely an out of memory issue.",
    "Vulkan: VK_ERROR_OUT_OF_DEVICE_MEMORY in vkAllocateMemory",
]


@pytest.mark.parametrize("said", GPU_FULL)
def test_a_gpu_without_room_is_told_in_plain_words_before_blenders_own(said: str) -> None:
    error = render_errors.frame_error(said)
    assert error.device
    assert str(error) == (
        "It needs more video memory than the GPU has: render on one with more, or use smaller textures or fewer"
        f" subdivisions. Blender: {said}"
    )


@pytest.mark.parametrize(
    ("said", "device"),
    [
        ("CUDA error: Illegal address in cuCtxSynchronize", True),
        ("Illegal address in CUDA queue copy_from_device", True),
        ("Found no Cycles device of the specified type", True),
        ("Failed allocate render result, out of memory", True),
        ("Out of memory in cube.blend", True),
        ("Can't read metal.png: out of memory", True),
        ("Out of system memory", False),
        ("Malloc returns null: len=4096 in Mesh", False),
        ("No camera found in scene 'Shot'", False),
    ],
)
def test_another_error_keeps_its_words(said: str, device: bool) -> None:
    error = render_errors.frame_error(said, gpu="NVIDIA L4, CUDA", in_pod=True, keeps_data=True)
    assert (str(error), error.device) == (said, device)


def test_the_words_name_the_gpu_and_what_can_be_changed_here() -> None:
    error = render_errors.frame_error(GPU_FULL[0], gpu="NVIDIA L4, OPTIX", in_pod=True, keeps_data=True)
    assert str(error) == (
        "It needs more video memory than the GPU has (NVIDIA L4, OPTIX): choose one with more in the farm's profile"
        " (gpu.models), use smaller textures or fewer subdivisions, or turn off persistent data. Blender: System is out"
        " of GPU memory"
    )


def test_the_words_fit_into_what_argo_keeps_of_an_attempt() -> None:
    gpu = "NVIDIA RTX 6000 Ada Generation, OPTIX"
    error = render_errors.frame_error(GPU_FULL[1], gpu=gpu, in_pod=True, keeps_data=True)
    assert len(f"r1c00001.0123abcd: Frame 1000: {error}") <= LONGEST


@pytest.mark.parametrize("start", ["Error: ", "ERROR ", "00:12.345  cycles           | ERROR "])
@pytest.mark.parametrize("said", [*GPU_FULL, "Malloc returns null: len=4096 in Mesh", "Failed to denoise"])
def test_what_is_only_printed_is_found(start: str, said: str) -> None:
    log = f"Fra:1 Mem:20M | Sample 1/1\nError: Nothing that matters\n{start}{said}\nSaved: 'shot_0001.png'\n"
    assert render_errors.printed(log) == said


def test_no_other_talk_is_an_error() -> None:
    log = "Errors: none\nFra:1 | out of memory is what this is not\nError: File not found\nWarning: out of GPU memory soon\n"
    assert render_errors.printed(log) == ""


def test_a_raised_error_says_each_thing_once() -> None:
    assert render_errors.raised("Error: Too much\nError: Too much\n\nError: Really\n") == "Too much Really"
    assert render_errors.raised("\n") == "Blender could not render the frame."
