"""The names that images get and lose in an update of one service: those by which Caisson keeps them, and those that
people, and Compose files, call them by. Only the commit sets the latter.
"""

from contextlib import suppress
from dataclasses import dataclass

from caissond.errors import Conflict, NotFound
from caissond.model.ids import ImageId, UpdateId, ingest_tag, keep_tag
from caissond.model.records import Part, Release
from caissond.update.step_tools import Tools


@dataclass(frozen=True, slots=True)
class Previous:
    """What a later rollback goes back to."""

    release: Release | None
    """None where nothing but its image is known."""
    image_id: ImageId
    reference: str | None


def previous_of(part: Part) -> Previous:
    """The release before this update. Where some of the containers run the new one already, since only others were made
    anew by hand, that is what it was.
    """
    before, known = part.before, part.before.installed
    if known is None or known.image_id != before.image_id:
        return Previous(None, before.image_id, before.reference)  # by hand
    if known.release.digest == part.release.digest and known.previous_image is not None:
        return Previous(known.previous, known.previous_image, known.previous_reference)
    return Previous(known.release, before.image_id, before.reference)


class Tags:
    """Those of one service, during one update."""

    def __init__(self, part: Part, update_id: UpdateId, tools: Tools) -> None:
        self._part = part
        self._docker = tools.docker
        self.ingest = ingest_tag(tools.claim, update_id, part.release.service)
        """Of the new image, until it is committed."""
        self._in_use = {one.before.image_id for one in part.each}
        self._keep = _name_keep_tags(part, update_id, tools.claim, self._in_use)

    def keep_old(self) -> None:
        """No prune can take them from now on."""
        for image, tag in self._keep.items():
            if image in self._in_use or self._docker.find_image(image):
                self._docker.tag(image, tag)

    def release_old(self) -> None:
        for tag in self._keep.values():
            with suppress(
                Conflict
            ):  # the old image's only tag now, and a container uses it: left for the sweep
                self._docker.untag(tag)

    def release_new(self) -> None:
        """The image goes with it, where it has no other name; also where Docker was gone before it had that one."""
        self._docker.untag(self.ingest)
        image = self._docker.find_image(self._part.release.digest)
        if image is not None and not (image.get("RepoTags") or image.get("RepoDigests")):
            with suppress(Conflict, NotFound):
                self._docker.remove_image(image["Id"])

    def name_new(self, image: ImageId) -> None:
        """The package's name for it, and the Compose file's, are the new image's."""
        for reference in self._public():
            self._docker.tag(image, reference)

    def name_old_again(self) -> None:
        """They are what they were."""
        for reference, image in self._public().items():
            if image is not None:
                self._docker.tag(image, reference)
            elif self._is_of_new(reference):
                self._docker.untag(reference)

    def _public(self) -> dict[str, ImageId | None]:
        """What each pointed at before."""
        before, compose = self._part.before, self._part.compose_reference
        own = {self._part.release.reference: before.reference_image}
        return {**own, compose: before.compose_image} if compose else own

    def _is_of_new(self, reference: str) -> bool:
        tagged, new = self._docker.find_image(reference), self._docker.find_image(self.ingest)
        return tagged is not None and tagged["Id"] in (self._part.release.digest, new["Id"] if new else None)


def _name_keep_tags(
    part: Part, update_id: UpdateId, claim: str, in_use: set[ImageId]
) -> dict[ImageId, str]:  # fmt: skip
    """One for what a rollback goes back to. Containers with another image, since somebody made them anew by hand, need
    theirs until the verdict.
    """
    service, previous = part.release.service, previous_of(part).image_id
    others = sorted(in_use - {previous})
    tags = {image: keep_tag(claim, update_id, f"{service} {image}") for image in others}
    return {previous: keep_tag(claim, update_id, service), **tags}
