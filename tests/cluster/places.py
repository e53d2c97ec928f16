"""Where the cluster of this machine has its files and addresses; there is one at a time."""

from __future__ import annotations

from pathlib import Path

# Short and outside of anybody's home: sockets below it may have about a hundred letters, and it belongs to root anyway.
ROOT = Path("/var/lib/cloud-farm-cluster")
RUN = ROOT / "run"  # one cluster's state; gone after `down`
LOCK = ROOT / "lock"  # held by who uses the cluster
SERVICES = ROOT / "services"  # logs and process numbers
KUBELET = RUN / "kubelet"
VOLUME = RUN / "volume"  # what the claim shared-data-pvc is, seen from this machine
IMAGES = ROOT / "containerd"  # what containerd keeps: images outlive a cluster
CONTAINERD = Path("/run/cloud-farm-cluster")  # its own, so that another containerd is left alone
CONTAINERD_SOCKET = CONTAINERD / "containerd.sock"

# The service `kubernetes`, an address on lo: pods and this machine reach the API server without a proxy.
API_ADDRESS = "10.152.183.1"
API_SERVER = f"https://{API_ADDRESS}"
SERVICES_NET = "10.152.183.0/24"
LOOPBACK = "127.93.0.1"  # what need not be seen from pods
ETCD = f"http://{LOOPBACK}:2379"
PODS_NET = "10.244.0.0/24"
BRIDGE = "farmrig0"
CNI_NAME = "farm-rig"
CNI = Path("/var/lib/cni")

NAMESPACE = "render"
NODE = "rig-node"
FILEBROWSER_PORT = 30080
FILEBROWSER_URL = f"http://127.0.0.1:{FILEBROWSER_PORT}"
GID = 1000  # shared by FileBrowser and the pods that render
FILEBROWSER_UID = 1000  # render pods have another one
