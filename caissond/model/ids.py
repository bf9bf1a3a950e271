"""The ids and names that everything else speaks of, and the names Caisson gives to what it makes in Docker."""

import hashlib
import re
import uuid
from pathlib import PurePath
from typing import NewType

UpdateId = NewType("UpdateId", str)
"""A random UUID in its usual spelling."""
ContainerId = NewType("ContainerId", str)
ImageId = NewType("ImageId", str)
"""What the engine calls an image: the config digest, or the manifest digest with the containerd store."""
Digest = NewType("Digest", str)
"""`sha256:` and 64 hexadecimal digits."""

TAG_DOMAIN = "caisson.invalid"
LABEL_PREFIX = "io.caisson."
NEW_MARK = "-caisson-new-"
PARKED_MARK = "-caisson-old-"
COPY_MARK = "-caisson-copy-"

_UUID_LENGTH = 36
_PARKED = re.compile(rf"^.+({NEW_MARK}|{PARKED_MARK}|{COPY_MARK})[0-9a-f]{{8}}$")


def new_update_id() -> UpdateId:
    return UpdateId(str(uuid.uuid4()))


def claim_of(state_dir: PurePath) -> str:
    """Eight hexadecimal digits that tell the state folders on one engine apart."""
    return _short(str(state_dir))


def ingest_tag(claim: str, update_id: UpdateId, service: str) -> str:
    """The private tag of an image between its load and its commit."""
    return f"{TAG_DOMAIN}/ingest:{claim}-{update_id}-{_short(service)}"


def keep_tag(claim: str, update_id: UpdateId, service: str) -> str:
    """The private tag that keeps the previous release's image from being pruned."""
    return f"{TAG_DOMAIN}/keep:{claim}-{update_id}-{_short(service)}"


def _short(name: str) -> str:
    """Eight hexadecimal digits: a tag takes neither every character nor every length."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def update_of_tag(claim: str, tag: str) -> UpdateId | None:
    """The update that a private tag of this claim belongs to; None for everybody else's tags."""
    for kind in ("ingest", "keep"):
        prefix = f"{TAG_DOMAIN}/{kind}:{claim}-"
        if tag.startswith(prefix):
            return UpdateId(tag.removeprefix(prefix)[:_UUID_LENGTH])
    return None


def new_name(container_name: str, update_id: UpdateId) -> str:
    """What the replacement is called until its verdict."""
    return f"{container_name}{NEW_MARK}{update_id[:8]}"


def parked_name(container_name: str, by: str) -> str:
    """What the old container is called between the commit and its removal.

    Args:
        by: the update's id; for one that Docker could not remove, and nobody needs, its own.
    """
    return f"{container_name}{PARKED_MARK}{by[:8]}"


def copy_name(container_name: str, update_id: UpdateId) -> str:
    """What the old container is called where it has to be made again, until that one runs."""
    return f"{container_name}{COPY_MARK}{update_id[:8]}"


def is_private_name(container_name: str) -> bool:
    """Whether Caisson gave this name: a replacement's, a parked container's or a copy's."""
    return _PARKED.match(container_name) is not None
