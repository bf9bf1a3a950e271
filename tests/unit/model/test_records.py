"""What is written down about an update: read again as it was, and clear in its words."""

import pytest
from pydantic import ValidationError

from caissond.model.ids import ImageId
from caissond.model.records import Failure, Outcome, Record, Release
from tests.unit.samples import OLD_IMAGE, before, installed, record, release


def test_record_comes_back_from_json_as_it_was() -> None:
    running = record("one", "two", old=before(known=installed())).model_copy(
        update={"failure": Failure(step="one", code="gate.exited", message="cannot", verdict=True)}
    )
    assert Record.model_validate_json(running.model_dump_json()) == running


def test_outcome_is_shown_in_words_and_only_a_postponed_one_is_not_final() -> None:
    assert Outcome.ROLLED_BACK.words == "rolled back"
    assert [outcome for outcome in Outcome if not outcome.final] == [Outcome.POSTPONED]


def test_record_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        release().version = "2.0.0"


def test_mistake_in_a_record_does_not_show_what_may_be_a_secret() -> None:
    with pytest.raises(ValidationError) as refused:
        Release.model_validate({**release().model_dump(), "digest": ["PASSWORD=hunter2"]})
    assert "hunter2" not in str(refused.value)


def test_old_image_is_called_by_its_release_or_by_what_the_container_says() -> None:
    assert before().reference == "example/web:1.0.0"
    known = installed("0.9.0").model_copy(update={"image_id": OLD_IMAGE})
    assert before(known=known).reference == "example/web:0.9.0"
    replaced_by_hand = known.model_copy(update={"image_id": ImageId("sha256:other")})
    assert before(known=replaced_by_hand).reference == "example/web:1.0.0"
    assert before(Config={}).reference == OLD_IMAGE
