"""Giving an uploaded part its final name, so that of many who try exactly one does.

FileBrowser's rename looks first and renames then: two at once both succeed, and the second replaces the first. What it does
in one step is to append: a tiny upload is written by O_APPEND. So who wants a name that must not be there yet appends its
token to the name's claim, and the first token in there has won.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from pathlib import PurePosixPath
from urllib.parse import quote

from ..errors import NotFoundError, StoreUnreachableError
from ..layout import PART
from .file_copy import part_name
from .filebrowser_connection import Connection, Refused, quoted
from .filebrowser_upload import remove

_CLAIM = f".claim{PART}"
_TOKEN = 32
_TRIES = 6
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.1


def part_of(target: PurePosixPath, mark: str) -> PurePosixPath:
    """Name the part of a file, in the same folder, never hidden."""
    return target.with_name(part_name(target.name, mark))


def exists(connection: Connection, path: PurePosixPath) -> bool:
    """Tell whether something has that name."""
    try:
        connection.json("GET", f"resources/{quoted(path)}")
    except NotFoundError:
        return False
    return True


def publish(connection: Connection, part: PurePosixPath, target: PurePosixPath) -> None:
    """Rename a part over its target, whatever was there before; readers see the one or the other, whole."""
    rename(connection, part, target, override=True)


def publish_new(connection: Connection, part: PurePosixPath, target: PurePosixPath) -> bool:
    """Rename a part to a name that must be new; False if somebody else has it or gets it now."""
    claim = target.with_name(hashlib.sha256(target.name.encode()).hexdigest()[:20] + _CLAIM)
    token = secrets.token_hex(_TOKEN // 2)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not exists(connection, target):
        winner = _append(connection, claim, token)
        if winner == token:
            try:
                return rename(connection, part, target, override=False)
            finally:
                remove(connection, claim)
        if not winner or time.monotonic() > deadline:
            # Nobody's claim, or of somebody who died before the rename, which is one request: it stands in the way.
            _discard(connection, claim, winner)
            deadline = time.monotonic() + _PATIENCE_SECONDS
        connection.sleep(_LOOK_SECONDS)
    return False


def rename(connection: Connection, source: PurePosixPath, target: PurePosixPath, *, override: bool) -> bool:
    """Rename on the server; False if the target is there and must not be replaced.

    The answer may be lost: then it is done if the source is gone, for nobody else renames it.
    """
    # The server decodes the destination twice.
    destination = quote(f"/{quoted(target)}", safe="")
    query = f"action=rename&destination={destination}" + ("&override=true" if override else "")
    url = f"resources/{quoted(source)}?{query}"
    tried = 0
    while True:
        try:
            connection.call("PATCH", url, refused=(404, 409), again=False)
            return True
        except Refused as refused:
            return _settle_rename(connection, source, target, refused.status, again=tried > 0)
        except StoreUnreachableError:
            tried += 1
            if tried == _TRIES:
                raise
            connection.back_off(tried)


def _settle_rename(
    connection: Connection, source: PurePosixPath, target: PurePosixPath, status: int, *, again: bool
) -> bool:
    """Say what a refusal means: after an answer that was lost, most likely that it is done.

    Raises:
        NotFoundError: The source is gone, and not by us.
    """
    if status == 409:  # the server looks at the target before it looks for the source
        return again and not exists(connection, source)
    if again and exists(connection, target):
        return True
    raise NotFoundError(
        f"{source} is gone from the farm's volume before it had its name. Does something delete unfinished uploads there?",
        path=str(source),
    )


def _append(connection: Connection, claim: PurePosixPath, token: str) -> str:
    """Append our token to the claim and return the first one in it; empty if the claim can't be used."""
    url = f"tus/{quoted(claim)}"
    # Another began it, and whoever appends first wins; or a winner removed it before the server had looked at what it made.
    with contextlib.suppress(Refused):
        connection.call("POST", url, expect=(201,), refused=(404, 409), headers={"Upload-Length": str(_TOKEN)})
    headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    try:
        connection.call("PATCH", url, expect=(204,), refused=(404, 409), body=token.encode(), headers=headers)
    except Refused as refused:
        if refused.status == 409:
            _settle(connection, url)
    return _first_token(connection, claim)


def _settle(connection: Connection, url: str) -> None:
    """Who came too late may have registered a finished claim anew; an empty append at its end unregisters it.

    Otherwise the server would delete it in three minutes, whoever has it then.
    """
    headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(_TOKEN)}
    try:
        connection.call("PATCH", url, expect=(204,), refused=(400, 404, 409, 413), body=b"", headers=headers)
    except Refused:
        return


def _first_token(connection: Connection, claim: PurePosixPath) -> str:
    try:
        answer = connection.call("GET", f"raw/{quoted(claim)}", expect=(200,), refused=(404,))
    except Refused:
        return ""
    return answer.content[:_TOKEN].decode("ascii", "replace") if len(answer.content) >= _TOKEN else ""


def _discard(connection: Connection, claim: PurePosixPath, winner: str) -> None:
    """Remove a claim, unless another's is there by now."""
    if _first_token(connection, claim) == winner:
        remove(connection, claim)
