"""The names Caisson gives in Docker: found again, and never mistaken for somebody else's."""

from pathlib import Path
from uuid import UUID

import pytest

from caissond.model.ids import (
    UpdateId,
    claim_of,
    ingest_tag,
    is_private_name,
    keep_tag,
    new_name,
    new_update_id,
    parked_name,
    update_of_tag,
)

CLAIM = claim_of(Path("/var/lib/caisson"))
UPDATE = UpdateId("0123abcd-4567-89ab-cdef-0123456789ab")


def test_update_ids_are_random_uuids() -> None:
    one, other = new_update_id(), new_update_id()
    assert one != other
    assert str(UUID(one)) == one


def test_claim_is_the_same_on_every_start_and_another_for_another_folder() -> None:
    assert claim_of(Path("/var/lib/caisson")) == CLAIM
    assert claim_of(Path("/srv/caisson")) != CLAIM
    assert len(CLAIM) == 8


def test_update_is_found_again_by_its_private_tags() -> None:
    assert update_of_tag(CLAIM, ingest_tag(CLAIM, UPDATE, "web")) == UPDATE
    assert update_of_tag(CLAIM, keep_tag(CLAIM, UPDATE, "web")) == UPDATE
    assert ingest_tag(CLAIM, UPDATE, "web") != keep_tag(CLAIM, UPDATE, "web")


@pytest.mark.parametrize(
    "tag",
    [
        "example/frontend:1.2.3",
        keep_tag(claim_of(Path("/srv/other")), UPDATE, "web"),
        f"registry/caisson.invalid/keep:{CLAIM}-{UPDATE}",
        f"caisson.invalid/other:{CLAIM}-{UPDATE}",
    ],
)
def test_tag_of_somebody_else_belongs_to_no_update(tag: str) -> None:
    assert update_of_tag(CLAIM, tag) is None


def test_temporary_container_names_are_known_as_such() -> None:
    assert new_name("web", UPDATE) == "web-caisson-new-0123abcd"
    assert parked_name("web", UPDATE) == "web-caisson-old-0123abcd"
    assert is_private_name(new_name("web", UPDATE))
    assert is_private_name(parked_name("web", UPDATE))


@pytest.mark.parametrize(
    "name", ["web", "web-caisson-new", "-caisson-new-0123abcd", "web-caisson-new-0123abcg"]
)
def test_ordinary_container_name_is_not_private(name: str) -> None:
    assert not is_private_name(name)
