"""Values that farms of one kind share, as data: what nodes are called, what keeps other pods away from them.

A profile names one (`preset: coreweave`) and says only what is its own. Sources: the public tutorial that Cloud Farm follows,
CoreWeave's page of node labels, NVIDIA's GPU feature discovery, Google's page about GPU nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CLUSTER = {"engine": "argo", "store": "filebrowser"}
_CPU_NODES = {"tolerations": [{"key": "is_cpu_compute", "operator": "Exists"}]}
_GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The farm of the tutorial, as it stands there.
    "coreweave-tutorial": {
        **_CLUSTER,
        "volume": {"claim": "shared-data-pvc", "mount_path": "/data"},
        "gpu": {"device": "optix", "model_label": "gpu.nvidia.com/model", "models": ["Quadro_RTX_4000"]},
        "kubernetes": {"prepare": _CPU_NODES, "memory": "8Gi", "cpu": "1"},
    },
    # RTX_A5000, RTX_A6000, A40, A100_PCIE_40GB …
    "coreweave": {
        **_CLUSTER,
        "gpu": {"device": "optix", "model_label": "gpu.nvidia.com/class"},
        "kubernetes": {"prepare": _CPU_NODES},
    },
    # NVIDIA's GPU operator: Quadro-RTX-4000, NVIDIA-A100-SXM4-40GB, Tesla-T4 …
    "nvidia": {
        **_CLUSTER,
        "gpu": {"device": "optix", "model_label": "nvidia.com/gpu.product", "tolerations": [_GPU_TAINT]},
    },
    # nvidia-tesla-t4, nvidia-l4, nvidia-tesla-a100 …
    "gke": {
        **_CLUSTER,
        "gpu": {"device": "optix", "model_label": "cloud.google.com/gke-accelerator", "tolerations": [_GPU_TAINT]},
    },
}
