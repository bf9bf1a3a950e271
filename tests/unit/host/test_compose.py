"""Compose's command is found, checked and asked; what it says wrong becomes a refusal that gives no secret away."""

import time
from pathlib import Path

import pytest

from caissond.errors import Refusal
from caissond.host.compose import (
    ComposeCli,
    ComposeFiles,
    ResolvedService,
    check_service,
    resolve,
    sharers,
)
from caissond.host.compose_files import parse_resolved
from caissond.host.program import run_program
from caissond.model.catalog import Compose
from tests.unit.host.fake_compose import FakePrograms


@pytest.fixture
def programs(tmp_path: Path) -> FakePrograms:
    (tmp_path / "bin").mkdir()
    return FakePrograms(tmp_path / "bin")


@pytest.fixture
def files(tmp_path: Path) -> ComposeFiles:
    file = tmp_path / "site/compose.yaml"
    file.parent.mkdir()
    file.write_text("services: {}\n")
    return ComposeFiles("site", (file,))


def unavailable(programs: FakePrograms) -> str:
    with pytest.raises(Refusal) as refused:
        programs.find()
    assert refused.value.code == "compose.unavailable"
    return refused.value.message


def invalid(programs: FakePrograms, files: ComposeFiles) -> str:
    with pytest.raises(Refusal) as refused:
        resolve(programs.find(), files)
    assert refused.value.code == "compose.invalid"
    return refused.value.message


def test_plugin_is_preferred(programs: FakePrograms) -> None:
    programs.docker("2.26.1-4")
    programs.docker_compose("1.29.2")
    cli = programs.find()
    assert (cli.command, cli.version) == ((str(programs.bin / "docker"), "compose"), "2.26.1-4")
    assert (cli.name, cli.is_v1) == ("docker compose", False)


def test_standalone_command_is_found_where_docker_has_no_plugin(programs: FakePrograms) -> None:
    programs.docker(None)
    programs.docker_compose("1.29.2")
    cli = programs.find()
    assert (cli.command, cli.name, cli.is_v1) == (
        (str(programs.bin / "docker-compose"),),
        "docker-compose",
        True,
    )


@pytest.mark.parametrize("version", ["2.0.0", "v2.3.3", "2.26.1-4", "2.40.3+ds1", "5.0.1", "1.28.0"])
def test_version_that_will_do(programs: FakePrograms, version: str) -> None:
    programs.docker_compose(version)
    assert programs.find().version == version


@pytest.mark.parametrize("version", ["1.27.4", "0.9.1", "dev", "1"])
def test_other_version_is_named(programs: FakePrograms, version: str) -> None:
    programs.docker_compose(version)
    assert unavailable(programs) == f"cannot update Compose services: only docker-compose {version} here"


def test_both_old_ones_are_named(programs: FakePrograms) -> None:
    programs.docker("1.0.0-beta")
    programs.docker_compose("1.25.0")
    assert "only docker compose 1.0.0-beta and docker-compose 1.25.0 here" in unavailable(programs)


def test_absence_is_told(programs: FakePrograms) -> None:
    assert unavailable(programs).endswith("neither docker compose nor docker-compose here")
    programs.docker(None)
    (programs.bin / "docker-compose").write_text("not a program")
    (programs.bin / "docker-compose").chmod(0o755)
    assert unavailable(programs).endswith("neither docker compose nor docker-compose here")


def test_nothing_of_the_surroundings_decides_what_a_project_means(programs: FakePrograms) -> None:
    programs.docker("2.26.1", "echo '{}'")
    surroundings = {"TAG": "9", "COMPOSE_PROFILES": "x", "DOCKER_CONTEXT": "other", "DOCKER_CERT_PATH": "/c"}
    resolve_somewhere(ComposeCli.find({**programs.environment, **surroundings}), programs)
    exported = [line.removeprefix("export ") for line in programs.seen("environment")]
    assert {f"COMPOSE_EXPERIMENTAL_{what}_REMOTE='false'" for what in ("GIT", "OCI")} <= set(exported)
    given = {line.split("=")[0] for line in exported}
    assert given >= {"PATH", "HOME", "DOCKER_CERT_PATH", "DOCKER_HOST"}
    assert not given & {"TAG", "COMPOSE_PROFILES", "DOCKER_CONTEXT"}


def resolve_somewhere(cli: ComposeCli, programs: FakePrograms) -> None:
    (programs.bin / "compose.yaml").touch()
    resolve(cli, ComposeFiles("site", (programs.bin / "compose.yaml",)))


def test_engine_is_the_one_that_caisson_speaks_to(programs: FakePrograms) -> None:
    programs.docker("2.26.1")
    assert programs.find().environment["DOCKER_HOST"] == "unix:///var/run/docker.sock"
    elsewhere = {**programs.environment, "DOCKER_HOST": "unix:///run/other.sock"}
    assert ComposeCli.find(elsewhere).environment["DOCKER_HOST"] == "unix:///run/other.sock"


def test_project_is_resolved_as_the_catalog_says(programs: FakePrograms, tmp_path: Path) -> None:
    programs.docker("2.26.1", 'echo \'{"services": {"web": {"image": "web:1", "environment": {"A": "b"}}}}\'')
    for name in ("a.yaml", "b.yaml", "e"):
        (tmp_path / name).touch()
    table = Compose(
        project="site", file=Path("a.yaml"), service="web", more_files=(tmp_path / "b.yaml",),
        profiles=("x", "y"), env_file=Path("e"),
    )  # fmt: skip
    assert resolve(programs.find(), ComposeFiles.of(table, tmp_path)) == {
        "web": ResolvedService(image="web:1")
    }
    assert programs.seen("arguments") == [
        "-p", "site", "-f", f"{tmp_path}/a.yaml", "-f", f"{tmp_path}/b.yaml", "--profile", "x", "--profile", "y",
        "--env-file", f"{tmp_path}/e", "config", "--format", "json",
    ]  # fmt: skip
    assert programs.seen("folder") == [str(tmp_path)]
    assert any("COMPOSE_PROFILES='x,y'" in line for line in programs.seen("environment"))


def test_version_1_answers_in_yaml(programs: FakePrograms, files: ComposeFiles) -> None:
    answer = (
        "services:\\n  web:\\n    image: web:1\\n  built:\\n    build: .\\n    image: ''\\nversion: '3.9'\\n"
    )
    programs.docker_compose("1.29.2", f'printf "{answer}"')
    assert resolve(programs.find(), files) == {
        "web": ResolvedService(image="web:1"),
        "built": ResolvedService(image=None, is_built=True),
    }
    assert programs.seen("arguments")[-1] == "config"


def test_last_words_of_the_command_are_passed_on(programs: FakePrograms, files: ComposeFiles) -> None:
    programs.docker(
        "2.26.1", "echo 'secret: x'; echo first >&2; printf 'no \\033[31m%0500d\\n' 7 >&2; exit 15"
    )
    said = invalid(programs, files)
    assert said.startswith("cannot resolve the Compose project site: no ?[31m000")
    assert said.endswith("…")
    assert len(said) < 350


def test_command_that_says_nothing_is_told_by_its_code(programs: FakePrograms, files: ComposeFiles) -> None:
    programs.docker("2.26.1", "echo 'secret: x'; exit 3")
    assert invalid(programs, files).endswith(": docker compose ended with code 3")


@pytest.mark.parametrize(
    ("version", "answer"),
    [
        ("2.26.1", "{secret"),
        ("2.26.1", "[1]"),
        ("2.26.1", '{"services": {"web": {"image": ["secret"]}}}'),
        ("1.29.2", "services: [secret"),
        ("1.29.2", "secret"),
    ],
)
def test_answer_that_is_none_is_not_shown(
    programs: FakePrograms, files: ComposeFiles, version: str, answer: str
) -> None:
    programs.docker_compose(version, f"echo '{answer}'")
    assert invalid(programs, files).endswith(f": docker-compose {version} gave an unexpected answer")


@pytest.mark.parametrize("is_yaml", [True, False])
def test_answer_that_is_none_leaves_no_trace_in_the_error(is_yaml: bool) -> None:
    with pytest.raises(ValueError, match=r"^not what config answers$") as refused:
        parse_resolved('{"services": "secret"}', is_yaml=is_yaml)
    assert refused.value.__cause__ is None


def test_answer_in_yaml_makes_nothing_but_values(tmp_path: Path) -> None:
    answer = f"services: !!python/object/apply:os.mkdir ['{tmp_path}/made']"
    with pytest.raises(ValueError, match="not what config answers"):
        parse_resolved(answer, is_yaml=True)
    assert not (tmp_path / "made").exists()


def test_missing_file_is_named(programs: FakePrograms, files: ComposeFiles, tmp_path: Path) -> None:
    programs.docker("2.26.1", "echo '{}'")
    gone = ComposeFiles("site", (*files.files, tmp_path / "gone.yaml"))
    assert invalid(programs, gone).endswith(f": {tmp_path}/gone.yaml: No such file or directory")
    folder = ComposeFiles("site", files.files, env_file=tmp_path)
    assert invalid(programs, folder).endswith(f": {tmp_path} is not a file")


def test_command_that_vanishes_is_told(programs: FakePrograms, files: ComposeFiles) -> None:
    programs.docker("2.26.1")
    cli = programs.find()
    (programs.bin / "docker").unlink()
    with pytest.raises(Refusal, match="cannot be started: No such file or directory"):
        resolve(cli, files)
    assert cli.takes("up", "--pull") is False


def test_option_is_known_by_the_words_of_the_command(programs: FakePrograms) -> None:
    programs.docker("2.26.1", "echo '  --pull string  Pull image'; echo ' --quiet-pulls'")
    cli = programs.find()
    assert cli.takes("up", "--pull") is True
    assert cli.takes("up", "--quiet-pull") is False


RESOLVED = {
    "web": ResolvedService(image="shop/web:2"),
    "twin": ResolvedService(image="docker.io/shop/web:2"),
    "old": ResolvedService(image="shop/web:1"),
    "built": ResolvedService(is_built=True),
    "pinned": ResolvedService(image=f"shop/web@sha256:{'0' * 64}"),
    "by-id": ResolvedService(image="0" * 64),
    "odd": ResolvedService(image="Shop/Web:2"),
}


def test_image_name_is_the_projects_own_spelling() -> None:
    assert check_service(RESOLVED, "twin") == "docker.io/shop/web:2"


@pytest.mark.parametrize(
    ("service", "code", "words"),
    [
        ("nope", "compose.unknown_service", "are built, by-id, odd, old, pinned, twin, web"),
        ("by-id", "compose.image_pinned", "wants exactly 0000"),
        ("odd", "compose.no_image", "cannot use 'Shop/Web:2' as an image reference"),
        ("built", "compose.no_image", "gives it no image name"),
        ("pinned", "compose.image_pinned", "wants exactly shop/web@sha256:"),
    ],
)
def test_service_that_cannot_be_updated_is_refused(service: str, code: str, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        check_service(RESOLVED, service)
    assert refused.value.code == code


def test_others_with_the_same_image_are_found_however_it_is_spelled() -> None:
    assert sharers(RESOLVED, "web", "shop/web:2") == ("twin",)
    assert sharers(RESOLVED, "old", "index.docker.io/shop/web:2") == ("twin", "web")
    assert sharers(RESOLVED, "web", "shop/web:3") == ()


def test_program_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    began, running, late = time.monotonic(), tmp_path / "running", tmp_path / "late"
    running.touch()
    script = f"(while [ -e {running} ]; do sleep 0.1; done; echo >{late}) & sleep 60"
    ended = run_program(["/bin/sh", "-c", script], environment={"PATH": "/bin:/usr/bin"}, timeout_s=2)
    assert ended.code is None
    assert time.monotonic() - began < 30
    running.unlink()  # where it goes on, it says so now
    time.sleep(1)
    assert not late.exists()
