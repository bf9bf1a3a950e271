"""Compose's real commands, versions 2 and 1: what they make of a project is what is known of it here."""

import time
from pathlib import Path

import pytest

from caissond.errors import Refusal
from caissond.host.compose import RESOLVE_S, ComposeCli, ComposeFiles, check_service, resolve, sharers
from caissond.model.catalog import Compose
from fixtures.compose import ComposeKind, compose_environment, compose_kinds


@pytest.fixture(params=compose_kinds())
def cli(request: pytest.FixtureRequest, tmp_path: Path) -> ComposeCli:
    return ComposeCli.find(compose_environment(ComposeKind(request.param), tmp_path / "programs"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def write(folder: Path, text: str, name: str = "compose.yaml") -> ComposeFiles:
    (folder / name).write_text(text)
    return ComposeFiles("site", (folder / name,))


def images(cli: ComposeCli, files: ComposeFiles) -> dict[str, str | None]:
    return {name: service.image for name, service in resolve(cli, files).items()}


def code_and_words(cli: ComposeCli, files: ComposeFiles) -> tuple[str, str]:
    with pytest.raises(Refusal) as refused:
        check_service(resolve(cli, files), "web")
    return refused.value.code, refused.value.message


TAGGED = 'services:\n  web:\n    image: "shop/web:${TAG:-none}"\n'


def test_version_and_name_are_told(cli: ComposeCli) -> None:
    assert (cli.name, cli.is_v1) in {("docker compose", False), ("docker-compose", True)}
    assert cli.version.startswith(("1.29.", "2."))


def test_variables_come_from_the_file_beside(cli: ComposeCli, site: Path) -> None:
    files = write(site, TAGGED)
    assert images(cli, files) == {"web": "shop/web:none"}
    (site / ".env").write_text("TAG=7\n")
    assert images(cli, files) == {"web": "shop/web:7"}


def test_variables_come_from_the_file_that_the_catalog_names_instead(cli: ComposeCli, site: Path) -> None:
    files = write(site, TAGGED)
    (site / ".env").write_text("TAG=7\n")
    (site / "device.env").write_text("TAG=8\n")
    table = Compose(project="site", file=files.files[0], service="web", env_file=Path("device.env"))
    assert images(cli, ComposeFiles.of(table, site)) == {"web": "shop/web:8"}


def test_later_file_comes_on_top(cli: ComposeCli, site: Path) -> None:
    first = write(site, "services:\n  web:\n    image: web:1\n  db:\n    image: db:1\n")
    (site / "more.yaml").write_text("services:\n  web:\n    image: web:2\n")
    both = ComposeFiles("site", (*first.files, site / "more.yaml"))
    assert images(cli, both) == {"web": "web:2", "db": "db:1"}


def test_other_file_that_compose_would_take_by_itself_is_left_out(cli: ComposeCli, site: Path) -> None:
    files = write(site, "services:\n  web:\n    image: web:1\n")
    write(site, "services:\n  web:\n    image: web:2\n", "compose.override.yaml")
    (site / ".env").write_text("COMPOSE_FILE=compose.override.yaml\nCOMPOSE_PROJECT_NAME=other\n")
    assert images(cli, files) == {"web": "web:1"}


PROFILES = """\
services:
  web:
    image: web:1
  job:
    image: web:1
    profiles: [jobs]
  debug:
    image: debug:1
    profiles: [debug]
"""


def test_profiles_of_the_catalog_stand_instead_of_those_beside_the_file(cli: ComposeCli, site: Path) -> None:
    files = write(site, PROFILES)
    (site / ".env").write_text("COMPOSE_PROFILES=debug\n")
    with_jobs = ComposeFiles("site", files.files, profiles=("jobs",))
    everything = {"web", "job", "debug"}  # version 1 resolves all, whatever is enabled
    assert set(images(cli, files)) == (everything if cli.is_v1 else {"web", "debug"})
    assert set(images(cli, with_jobs)) == (everything if cli.is_v1 else {"web", "job"})
    assert sharers(resolve(cli, with_jobs), "web", images(cli, with_jobs)["web"] or "") == ("job",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services:\n  web:\n    imagee: web:1\n", "imagee"),
        ("services: [\n", "line "),
        ('services:\n  web:\n    image: "${TAG:?no tag here}"\n', "no tag here"),
        ("services:\n  web:\n    image: web:1\n    depends_on: [gone]\n", "gone"),
        ("services:\n  web:\n    image: web:1\n    env_file: gone.env\n", "gone.env"),
    ],
)
def test_project_that_does_not_resolve_is_refused_in_its_words(
    cli: ComposeCli, site: Path, text: str, words: str
) -> None:
    code, said = code_and_words(cli, write(site, text))
    assert code == "compose.invalid"
    assert words in said


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("build: .", "compose.no_image"),
        ('image: "${NOBODY_SET_THIS}"\n    build: .', "compose.no_image"),
        (f"image: web@sha256:{'0' * 64}", "compose.image_pinned"),
        (f"image: web:1@sha256:{'0' * 64}", "compose.image_pinned"),
    ],
)
def test_service_whose_image_cannot_be_another_is_refused(
    cli: ComposeCli, site: Path, service: str, code: str
) -> None:
    assert code_and_words(cli, write(site, f"services:\n  web:\n    {service}\n"))[0] == code


def test_service_that_is_not_in_the_project_is_refused(cli: ComposeCli, site: Path) -> None:
    code, said = code_and_words(cli, write(site, "services:\n  db:\n    image: db:1\n"))
    assert code == "compose.unknown_service"
    assert said.endswith("are db")


def test_large_project_is_resolved(cli: ComposeCli, site: Path) -> None:
    """Its answer is larger than a pipe."""
    service = "  s{0}:\n    image: web:{0}\n    environment:\n      LONG: " + "x" * 2000 + "\n"
    files = write(site, "services:\n" + "".join(service.format(number) for number in range(100)))
    assert images(cli, files) == {f"s{number}": f"web:{number}" for number in range(100)}


def test_file_in_a_network_is_refused_instead_of_fetched(cli: ComposeCli, site: Path) -> None:
    """Version 1 does not know `include`. The address is one where nobody answers (RFC 5737)."""
    began = time.monotonic()
    files = write(site, "include: [https://192.0.2.1/a.git]\nservices:\n  web:\n    image: web:1\n")
    code, said = code_and_words(cli, files)
    assert code == "compose.invalid"
    assert "'include'" in said or "remote resource is disabled" in said
    assert time.monotonic() - began < RESOLVE_S  # whoever asks there waits longer


def test_only_version_2_can_be_told_not_to_fetch(cli: ComposeCli) -> None:
    assert [cli.takes(what, "--pull") for what in ("up", "create", "ps")] == [
        not cli.is_v1,
        not cli.is_v1,
        False,
    ]
