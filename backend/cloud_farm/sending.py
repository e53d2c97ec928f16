"""Bringing a packed and planned job to the volume, in an order that survives any interruption (contract §1, §2)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from . import history
from .assets import Asset
from .control import publish_plan
from .delivery import Delivery
from .errors import JobBusyError, StoreError, StoreUnreachableError
from .events import CancelToken, FindingFound, Listener, PauseSwitch, Stage, counted, ignore
from .job import SCHEMA, Finding, parse_job
from .job_notes import forget_note, write_note
from .json_data import to_json
from .layout import JobLayout
from .parallel import for_each
from .space import output_finding, refuse_full
from .stores import Store
from .toolchain import own_scripts
from .upload_lock import upload_lock
from .version import VERSION

if TYPE_CHECKING:
    from .submission import Prepared


def send(
    ready: Prepared,
    store: Store,
    *,
    on_event: Listener = ignore,
    cancel: CancelToken | None = None,
    pause: PauseSwitch | None = None,
    start: Callable[[], None] = lambda: None,
) -> tuple[Finding, ...]:
    """Bring a job to the volume. Only the `submitted` event, written last, makes it one that runs.

    job.json goes first: it names every asset before anybody looks which are there, and at the end all are looked at again;
    so no clean-up takes one away between.

    Args:
        pause: Halts the transfer while it is set.
        start: Called once it is there, while it still counts as being sent: until then nothing of it can run.

    Returns:
        What the artist should know.

    Raises:
        StoreFullError: It does not fit; nothing was sent.
        JobBusyError: Somebody else sends a job of this id.
        StoreError: The volume did not take it. What was sent stays for the next try, the job itself goes.
        Cancelled: `cancel` was set; likewise.
    """
    delivery = Delivery(store, on_event=on_event, cancel=cancel, pause=pause)
    assets = ready.pack.assets()
    space = _check_space(ready, assets, store, delivery)
    for finding in space:
        on_event(FindingFound(**to_json(finding)))
    with upload_lock(ready.plan.job_id):
        with _claimed(ready, store):
            missing = delivery.missing(assets)
            on_event(Stage("uploading", f"{len(missing)} of {counted(len(assets), 'file')} to send"))
            delivery.send(missing)
            _send_scripts(ready, store, cancel)
            delivery.settle(assets)
            # Now: once it is submitted nobody may be left to do so.
            write_note(ready.plan.job_id, ready.profile, ready.landing)
            publish_plan(ready.plan, store)
        start()
    return (*space, *delivery.findings)


@contextmanager
def _claimed(ready: Prepared, store: Store) -> Iterator[None]:
    """Publish job.json for the time of the upload; if that fails, the job goes to the trash, as nobody submitted it.

    Who is killed leaves it as it is; `is_being_sent` tells.
    """
    job_id = ready.plan.job_id
    layout = JobLayout(job_id)
    if not store.put(_job_json(ready), layout.job_json, if_absent=True):
        _take_over(ready, store)
    try:
        yield
    except StoreUnreachableError:
        raise  # it would not hear us
    except BaseException:
        forget_note(job_id)
        with contextlib.suppress(StoreError):
            store.trash(layout.folder, job_id=job_id)
        raise


def _take_over(ready: Prepared, store: Store) -> None:
    """Begin anew with a job that an earlier try of ours left half sent: it may have been packed otherwise. Files stay.

    Raises:
        JobBusyError: It was submitted meanwhile, or somebody else's program sends it.
    """
    layout = JobLayout(ready.plan.job_id)
    before = parse_job(store.read(layout.job_json), where=str(layout.job_json))
    if (before.host, before.owner) != (socket.gethostname(), history.user_name()):
        raise JobBusyError(f"Job {before.id} is being sent by {before.owner} from {before.host}. Choose another id.")
    if history.read_history(store, before.id):
        raise JobBusyError(f"Job {before.id} was submitted a moment ago. Follow it with: cloud-farm follow {before.id}")
    store.trash(layout.folder, job_id=before.id)
    if not store.put(_job_json(ready), layout.job_json, if_absent=True):
        raise JobBusyError(f"Another program sends job {before.id} at this moment.")


def _send_scripts(ready: Prepared, store: Store, cancel: CancelToken | None) -> None:
    folder = JobLayout(ready.plan.job_id).scripts

    def send_one(script: tuple[str, bytes], _stop: CancelToken) -> None:
        store.put(script[1], folder / script[0])

    for_each(own_scripts().items(), send_one, workers=store.connections, cancel=cancel)


def _check_space(ready: Prepared, assets: Mapping[str, Asset], store: Store, delivery: Delivery) -> tuple[Finding, ...]:
    """Compare the room on the volume with what is sent and with what will be rendered.

    Raises:
        StoreFullError: What is to be sent does not fit.
    """
    free = store.free_space()
    if free is None:
        return ()
    needed = sum(item.size for item in assets.values())
    if needed > free:  # unless the most of it is there already
        needed = sum(item.size for item in delivery.missing(assets).values())
        refuse_full(free, needed)
    scene = ready.pack.facts.scene(ready.job.scene)
    finding = output_finding(ready.pack, ready.plan, scene, store, free=free - needed)
    return () if finding is None else (finding,)


def _job_json(ready: Prepared) -> bytes:
    # The artist's own folders stay at home; the name template is what further revisions need.
    template = str(ready.plan.document["settings"]["template"])
    job = dataclasses.replace(ready.job, scene_file=PurePosixPath(ready.pack.scene).name, landing=template)
    data = {
        "schema": SCHEMA,
        "id": ready.plan.job_id,
        "owner": history.user_name(),
        "host": socket.gethostname(),
        "created": history.now_text(),
        "tool": VERSION,
        "blender": {"version": ready.blender.version, "hash": ready.blender.build_hash},
        "farm": ready.profile.name,
        "job": to_json(job),
        "pack": ready.pack.to_json(),
    }
    return json.dumps(data, indent=1, ensure_ascii=False).encode()
