"""`caisson plan` and `caisson approve`, as they are typed."""

from tests.unit.cli.command import Command


def test_plan_of_an_empty_device_says_so(caisson: Command) -> None:
    answer = caisson("plan")
    assert (answer.code, answer.out) == (0, "No complete package is in the inbox or on a medium.\n")


def test_plan_finds_what_is_in_the_inbox_and_says_why_not(caisson: Command) -> None:
    caisson.paths.inbox.mkdir(parents=True)
    caisson.package().rename(caisson.paths.inbox / "a.edgepkg")
    answer = caisson("plan")
    assert answer.code == 0
    assert "a.edgepkg" in answer.out
    assert "refuse" in answer.out
    assert "[trust.no_signers]" in answer.out


def test_plan_of_a_named_package_is_there_for_scripts(caisson: Command) -> None:
    (caisson.paths.config).write_text("[trust]\nallow_unsigned = true\n")
    path = caisson.package()
    (answer,) = caisson.as_process("plan", path, "--json").json
    assert (answer["package"], answer["act"], answer["code"]) == (str(path), "later", "docker.unavailable")


def test_plan_leaves_no_trace(caisson: Command) -> None:
    caisson("plan", caisson.package())
    assert not caisson.paths.state_dir.exists()


def test_package_that_would_be_refused_cannot_be_approved(caisson: Command) -> None:
    answer = caisson("approve", caisson.package())
    assert answer.code == 2
    assert "trust.no_signers" in answer.err


def test_approving_needs_docker(caisson: Command) -> None:
    caisson.paths.config.write_text("[trust]\nallow_unsigned = true\n")
    answer = caisson.as_process("approve", caisson.package())
    assert answer.code == 1
    assert "docker.unavailable" in answer.err
