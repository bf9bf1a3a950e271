"""A hook on the device: run outside the daemon's sandbox, told what happens, and asked before an update."""

import json

from fixtures.machine.device import Device
from fixtures.machine.ready import SMALL

_LOG = "/root/questions"
_ANSWER = "/root/answer"
_HOOK = f"""\
#!/bin/sh
[ "$CAISSON_CODE" = update.before ] || exit 0
{{ cat; echo; }} >>{_LOG}
echo "the door is open"
exit "$(cat {_ANSWER})"
"""


def test_hook_holds_an_update_up_refuses_it_and_lets_it_run(device: Device) -> None:
    """The daemon itself cannot write to /root. The same package: held up, asked about again, dropped once more."""
    _write_hook(device)
    _answer(device, 75)
    device.drop(SMALL)
    assert "the door is open" in device.await_event("hook.later")["MESSAGE"]
    _answer(device, 1)
    assert "the door is open" in device.await_event("hook.refused")["MESSAGE"]
    device.until("the inbox is empty", lambda: device.run("ls", "/var/lib/caisson/inbox") == "")
    assert "update.started" not in device.codes()
    assert device.containers() == ["web example/web:1.0.0 running"]
    _answer(device, 0)
    device.drop(SMALL)
    device.await_event("update.committed", version="1.1.0")
    assert device.version() == "1.1.0"
    assert _questions(device)[:3] == [("update.before", "web", "1.1.0")] * 3


def _write_hook(device: Device) -> None:
    path = "/etc/caisson/hooks.d/50-door"
    device.machine.agent.write(path, _HOOK.encode())
    device.run("chmod", "755", path)


def _answer(device: Device, status: int) -> None:
    """What the hook answers from now on."""
    device.machine.agent.write(_ANSWER, str(status).encode())


def _questions(device: Device) -> list[tuple[str, str, str]]:
    """What the hook got on its standard input, each time that it was asked: code, service, version."""
    asked = [json.loads(line) for line in device.run("cat", _LOG).splitlines() if line]
    return [(one["code"], one["fields"]["service"], one["fields"]["version"]) for one in asked]
