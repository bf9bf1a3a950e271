"""Signed packages on a whole Caisson: who is let in, what may go back, and what a stick left in does not do again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from caissond import BUILD_DATE
from caissond.errors import CaissonError, DockerError, SourceGone
from caissond.intake.scan import Origin
from caissond.model.events import Event
from caissond.model.records import AuditKind, Outcome, Verdict
from caissond.update.acceptance import Request
from caissond.update.recovery import settle
from caissond.update.updater import Updater
from fixtures import raw_package
from fixtures.raw_package_2 import (
    HEAD,
    MAKER,
    RawLayer,
    config_2,
    image_2,
    index_entry,
    index_json,
    layer,
    manifest_2,
    package_2,
    target_table,
)
from fixtures.signatures import ed25519
from tests.flow.device import World, outcome
from tests.flow.faults import Fault, refuse

SIGNERS = f"maker@vendor.example {MAKER.line}\nother@vendor.example {ed25519('other').line}\n"


def release(
    version: str, *, head: str = "", created_at: str = "2026-03-16T18:30:00Z", content: bytes = b"",
    signatures: bytes | None = None, layers: tuple[RawLayer, ...] = (),
) -> bytes:  # fmt: skip
    """A package of this version, signed unless other signatures are given."""
    layers = layers or (layer(content or version.encode()),)
    image = image_2(*layers, config=config_2(layers, config={"Cmd": ["serves"]}))
    text = HEAD.replace('"2.0.0"', f'"{version}"').replace("2026-03-16T18:30:00Z", created_at)
    reference = f"example/frontend:{version}"
    target = target_table(image, reference=f'"{reference}"')
    manifest = manifest_2(target, head=text, extra=head)
    signed = MAKER.sshsig(manifest) if signatures is None else signatures
    index = index_json(index_entry(image, reference))
    return package_2(image, manifest=manifest, signatures=signed, index=index)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A device that knows two signers and lets nothing in without a signature."""
    world = World.make(tmp_path)
    world.paths.config.unlink()
    world.paths.allowed_signers.write_text(SIGNERS)
    return world


def apply(world: World, content: bytes, *, origin: Origin = Origin.INBOX) -> Verdict | None:
    path = world.write_package(content)
    with world.device() as device:
        settle(device)
        return Updater(device).handle(Request(path, origin))


def codes(world: World, *contents: bytes) -> list[str]:
    """The code of each in turn, empty for one that went in."""
    verdicts = [apply(world, content) for content in contents]
    return [verdict.code if verdict else "had its turn" for verdict in verdicts]


def test_signed_package_is_applied_and_says_what_it_is(world: World) -> None:
    verdict = apply(world, release("2.0.0"))
    assert verdict is not None
    assert (verdict.outcome, verdict.versions) == (Outcome.SUCCEEDED, "2.0.0")
    assert world.version() == "new"


@pytest.mark.parametrize(
    ("signatures", "code"),
    [
        (b"", "trust.unsigned"),
        (b"-----BEGIN SSH SIGNATURE-----\n", "trust.malformed_signature"),
        (MAKER.sshsig(b"something else"), "trust.bad_signature"),
        (ed25519("stranger").sshsig(b"something else"), "trust.bad_signature"),
    ],
)
def test_package_that_nobody_vouches_for_changes_nothing(world: World, signatures: bytes, code: str) -> None:
    assert codes(world, release("2.0.0", signatures=signatures)) == [code]
    assert world.version() == "old"
    assert not any(call.startswith("load") for call in world.docker.calls)


def test_revoked_key_lets_nothing_in_any_more(world: World) -> None:
    world.paths.revoked_keys.write_text(MAKER.line)
    assert codes(world, release("2.0.0")) == ["trust.revoked"]


def test_list_of_signers_that_cannot_be_read_lets_nobody_in(world: World) -> None:
    world.paths.allowed_signers.write_text(SIGNERS + "nonsense\n")
    assert codes(world, release("2.0.0")) == ["trust.invalid_signers"]


def test_service_may_be_signed_for_by_its_own_signers_only(world: World) -> None:
    catalog = world.paths.services.read_text()
    for pattern, expected in [("other@*", "trust.not_for_service"), ("maker@*", "")]:
        keyed = catalog.replace('name = "frontend"\n', f'name = "frontend"\nsigners = ["{pattern}"]\n', 1)
        world.paths.services.write_text(keyed)
        assert codes(world, release("2.0.0")) == [expected]


def test_two_signatures_are_two_keys(world: World) -> None:
    world.paths.config.write_text("[trust]\nrequired_signatures = 2\n")
    manifest_signer = package_signed_by("maker", "maker"), package_signed_by("maker", "other")
    assert codes(world, *manifest_signer) == ["trust.too_few_signatures", ""]


def package_signed_by(*names: str) -> bytes:
    layers = (layer(b"two"),)
    image = image_2(*layers, config=config_2(layers, config={"Cmd": ["serves"]}))
    manifest = manifest_2(target_table(image))
    signatures = b"".join(ed25519(name).sshsig(manifest) for name in names)
    return package_2(image, manifest=manifest, signatures=signatures)


# older, the same, for others


def test_older_release_is_refused_and_the_same_one_is_nothing_to_do(world: World) -> None:
    assert codes(
        world, release("2.0.0"), release("1.9.0"), release("2.0.0"), release("2.0.0", content=b"!")
    ) == [
        "",
        "package.downgrade",
        "release.already_installed",
        "package.version_reused",
    ]


def test_leave_to_go_back_holds_once(world: World) -> None:
    """A stick left in does not swing the service to and fro."""
    older = release("1.9.0", head="allow_downgrade = true\n")
    assert codes(world, release("2.0.0"), older, release("2.0.0"), older) == ["", "", "", "package.downgrade"]


def test_unsigned_leave_to_go_back_counts_for_nothing(world: World) -> None:
    world.paths.config.write_text("[trust]\nallow_unsigned = true\n")
    older = release("1.9.0", head="allow_downgrade = true\n", signatures=b"")
    assert codes(world, release("2.0.0"), older) == ["", "package.downgrade"]


def test_package_for_another_type_of_device_is_refused(world: World) -> None:
    package = release("2.0.0", head='[compatibility]\ndevice_types = ["pump"]\n')
    assert codes(world, package) == ["package.device_type_mismatch"]
    world.paths.config.write_text('[device]\ntype = "pump"\n')
    assert codes(world, package) == [""]


# what lies on a medium


def on_medium(world: World, content: bytes) -> Verdict | None:
    return apply(world, content, origin=Origin.MEDIA)


def test_package_on_a_medium_has_one_turn_and_another_under_other_terms(world: World) -> None:
    assert on_medium(world, release("2.0.0", signatures=b"")) is not None
    assert on_medium(world, release("2.0.0", signatures=b"")) is None
    assert on_medium(world, release("2.0.0")) is not None, "signed, it is another package"
    world.paths.revoked_keys.write_text(ed25519("other").line)
    assert on_medium(world, release("2.0.0")) is not None


def test_other_package_of_the_same_version_has_its_own_turn(world: World) -> None:
    verdicts = [on_medium(world, release("2.0.0", content=content)) for content in (b"a", b"b", b"a")]
    assert [verdict.code if verdict else "had its turn" for verdict in verdicts] == [
        "",
        "package.version_reused",
        "had its turn",
    ]


def test_whole_copy_gets_its_turn_after_a_damaged_one(world: World) -> None:
    good = release("2.0.0", layers=(layer(b"content" * 1000),))
    at = good.rindex(layer(b"content" * 1000).stored) + 15
    bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    verdict = on_medium(world, bad)
    assert verdict is not None
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "image.layer_mismatch")
    assert on_medium(world, bad) is None
    assert world.broken_promises() == []
    assert outcome(on_medium(world, good) or CaissonError("", code="none")) is Outcome.SUCCEEDED


def test_stop_while_a_damaged_copy_is_hashed_again_leaves_it_where_it_is(world: World) -> None:
    good = release("2.0.0", layers=(layer(b"content" * 1000),))
    bad = bytearray(good)
    bad[good.rindex(layer(b"content" * 1000).stored) + 15] ^= 1
    assert on_medium(world, bytes(bad)) is not None
    path = world.write_package(bytes(bad))
    with world.device() as device:
        device.stop.set()
        verdict = Updater(device).handle(Request(path, Origin.MEDIA))
    assert verdict is not None
    assert (verdict.outcome, verdict.code) == (Outcome.POSTPONED, "update.interrupted")


def test_damage_found_while_loading_is_a_refusal_in_the_audit_chain(world: World) -> None:
    verdict = apply(world, release("2.0.0", layers=(layer(b"one", diff_id=layer(b"another").diff_id),)))
    assert verdict is not None
    with world.device() as device:
        kinds = [event.kind for event in device.history.events(verdict.update_id)]
    assert kinds[-2:] == [AuditKind.IMAGE_IMPORT_FAILED, AuditKind.VALIDATION_REJECTED]
    assert "update.rolling_back" not in [event.code for event in world.events]


def test_what_is_remembered_is_what_was_judged(world: World) -> None:
    """Storage that gives other bytes when it is asked once more does not make us pass over somebody else's package."""
    genuine = release("2.0.0")

    def change(event: Event) -> None:
        if event.code == "trust.unsigned":
            world.write_package(genuine)

    world.on_event = change
    assert on_medium(world, release("9.0.0", signatures=b"")) is not None
    world.on_event = lambda _event: None
    verdict = on_medium(world, genuine)
    assert verdict is not None
    assert verdict.outcome is Outcome.SUCCEEDED


def test_copy_that_is_whole_when_it_is_read_again_is_not_remembered(world: World) -> None:
    genuine = release("2.0.0", layers=(layer(b"content" * 1000),))
    damaged = bytearray(genuine)
    damaged[genuine.rindex(layer(b"content" * 1000).stored) + 15] ^= 1

    def mend(event: Event) -> None:
        if event.code == "image.layer_mismatch":
            (world.paths.inbox / "frontend.edgepkg").write_bytes(genuine)

    world.on_event = mend
    assert on_medium(world, bytes(damaged)) is not None
    world.on_event = lambda _event: None
    verdict = on_medium(world, genuine)
    assert verdict is not None
    assert verdict.outcome is Outcome.SUCCEEDED


def test_release_gets_its_turn_from_a_medium_once_its_quarantine_is_cleared(world: World) -> None:
    layers = (layer(b"sick"),)
    image = image_2(*layers, config=config_2(layers, config={"Cmd": ["crashes"]}))
    sick = package_2(image)
    verdicts = [on_medium(world, sick), on_medium(world, sick)]
    assert [verdict and verdict.outcome for verdict in verdicts] == [Outcome.ROLLED_BACK, None]
    with world.device() as device:
        device.releases.clear_quarantine()
    assert on_medium(world, sick) is not None


@pytest.mark.parametrize("has_leave", [False, True])
def test_older_release_beside_the_newer_one_never_swings_the_service(world: World, has_leave: bool) -> None:
    older = release("1.9.0", head="allow_downgrade = true\n" if has_leave else "")
    assert codes(world, release("2.0.0")) == [""]
    path = world.write_package(older)
    with world.device() as device:
        verdict = Updater(device).handle(Request(path, Origin.MEDIA, newest_here={"frontend": "2.0.0"}))
    assert verdict is not None
    assert verdict.code == "package.superseded"


def test_engine_that_refuses_to_answer_leaves_the_package_where_it_is(world: World) -> None:
    Fault(refuse, lasting=True).arm(world, frozenset({3}))
    verdict = apply(world, release("2.0.0"))
    assert verdict is not None
    assert (verdict.outcome, verdict.retry) == (Outcome.POSTPONED, True)


def test_docker_without_space_is_no_fault_of_the_package(world: World) -> None:
    def fill(_number: int, what: str) -> None:
        if what.startswith("load"):
            raise DockerError("cannot load an image: no space left on device", code="host.disk_full")

    world.docker.before = fill
    verdict = apply(world, release("2.0.0"))
    assert verdict is not None
    assert (verdict.code, verdict.retry) == ("host.disk_full", True)
    assert world.broken_promises() == []


def test_image_of_empty_layers_is_an_image(world: World) -> None:
    world.paths.config.write_text("[trust]\nallow_unsigned = true\n")
    config = raw_package.config(raw_package.sha256(b""), config={"Cmd": ["serves"]})
    assert codes(world, raw_package.package(image=raw_package.image(layer=b"", config=config))) == [""]


def test_quarantine_holds_though_the_container_was_replaced_by_hand(world: World) -> None:
    assert codes(world, release("2.0.0")) == [""]
    with world.device() as device:
        installed = device.releases.installed("frontend")
        assert installed is not None
        device.releases.quarantine(
            installed.release, code="gate.exited", update_id=installed.update_id, at=datetime.now(UTC)
        )
    world.docker.named()["frontend"]["Image"] = world.docker.add_image("by/hand:1")
    assert codes(world, release("2.0.0")) == ["release.quarantined"]


@pytest.mark.parametrize(("is_pulled", "attempts"), [(True, 0), (False, 1)])
def test_stick_that_is_pulled_costs_no_attempt_and_one_that_fails_does(
    world: World, is_pulled: bool, attempts: int
) -> None:
    def fail(_number: int, what: str) -> None:
        if what.startswith("load"):
            if is_pulled:
                (world.paths.inbox / "frontend.edgepkg").unlink()
            raise SourceGone("cannot read the source any more", code="media.gone")

    world.docker.before = fail
    verdict = on_medium(world, release("2.0.0"))
    assert verdict is not None
    assert verdict.retry
    (part,) = verdict.parts
    with world.device() as device, device.database.read() as connection:
        query = "SELECT count FROM attempt WHERE version = ?"
        assert connection.execute(query, (part.version,)).fetchall() == [(attempts,)]


# time


def floor(world: World) -> datetime | None:
    with world.device() as device:
        return device.releases.time_floor()


def test_commit_raises_the_time_floor_by_a_year_at_most(world: World) -> None:
    assert codes(world, release("2.0.0", created_at="2026-11-22T00:00:00Z")) == [""]
    assert floor(world) == datetime(2026, 11, 22, tzinfo=UTC)
    assert codes(world, release("2.0.1", created_at="2099-01-01T00:00:00Z")) == [""]
    raised = floor(world)
    assert raised is not None
    assert BUILD_DATE + timedelta(days=300) < raised < datetime.now(UTC) + timedelta(days=366)
    assert codes(world, release("2.0.2", created_at="2026-11-23T00:00:00Z")) == [""]
    assert floor(world) == raised


def test_refused_release_from_the_future_raises_nothing(world: World) -> None:
    assert codes(world, release("2.0.0", created_at="2099-01-01T00:00:00Z", signatures=b"")) == [
        "trust.unsigned"
    ]
    assert floor(world) is None


def test_unsigned_release_raises_nothing(world: World) -> None:
    world.paths.config.write_text("[trust]\nallow_unsigned = true\n")
    assert codes(world, release("2.0.0", created_at="2099-01-01T00:00:00Z", signatures=b"")) == [""]
    assert floor(world) is None
