"""`caisson inventory`: what a vendor needs to know of a device, and nothing that is secret."""

from caissond.model.settings import Settings
from tests.unit.cli.command import Command
from tests.unit.cli.test_reading import install


def test_scripts_get_what_the_stick_would(caisson: Command) -> None:
    install(caisson)
    caisson.paths.config.write_text('[device]\ntype = "pump-mk2"\n')
    answer = caisson.as_process("inventory", "--json")
    frontend, backend = answer.json["services"]
    assert answer.code == 0
    assert (answer.json["schema"], answer.json["device_type"]) == (1, "pump-mk2")
    assert (frontend["version"], frontend["config_digest"]) == ("2.0.0", "sha256:" + "a" * 64)
    assert (backend["version"], backend["runtime"]) == (None, "compose")
    assert answer.json["free_bytes"] > 0


def test_people_get_it_in_lines_and_are_told_that_docker_does_not_answer(caisson: Command) -> None:
    install(caisson)
    answer = caisson.as_process("inventory")
    assert "Docker:           does not answer" in answer.lines
    assert "Version:          2.0.0" in answer.lines
    assert f"Device type:      {Settings().device.type or 'not set'}" in answer.lines
