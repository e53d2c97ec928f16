"""Runs the supervisor in a pod, on the Python of the image's own Blender: any image with a Blender will do.

    blender -b --factory-startup --python-exit-code 10 --python-expr THIS_TEXT -- SHA256 run_attempt.py ARGUMENTS

This text is a part of the pod's command line, so what lies on the volume can't change it; it checks the supervisor's bytes
before it runs them. Nothing is ever written into it: what differs from pod to pod comes as arguments.
"""

import ctypes
import hashlib
import os
import sys
import traceback


def run(sha256: str, path: str, *arguments: str) -> int:
    """Run the supervisor if it is the one that was submitted; returns an exit code of the contract."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        return refuse(10, f"The supervisor can't be read: {error}. Is the farm's volume mounted?")
    if hashlib.sha256(content).hexdigest() != sha256:
        return refuse(78, f"{path} was changed after the job was submitted; it was not run. Submit the job again.")
    sys.argv = [path, *arguments]
    try:
        code = compile(content, path, "exec", dont_inherit=True)
        exec(code, {"__name__": "__main__", "__file__": path})  # noqa: S102 - the very bytes that were checked
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 10 if stop.code else 0
    except BaseException:  # noqa: BLE001 - whatever it raises is printed, and must become a code of the contract
        traceback.print_exc()
        return 10
    return 0


def refuse(code: int, reason: str) -> int:
    """Say why nothing runs, also where Kubernetes looks for a container's last words."""
    sys.stderr.write(f"{reason}\n")
    try:
        with open(os.environ["CLOUD_FARM_LAST_WORDS"], "w", encoding="utf-8") as stream:
            stream.write(reason)
    except (KeyError, OSError):
        return code
    return code


def leave(code: int) -> None:
    """End Blender at once: its normal exit may crash or hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)
    os._exit(code)


leave(run(*sys.argv[sys.argv.index("--") + 1 :]))
