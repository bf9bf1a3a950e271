"""The ssh-agent, as little of it as signing needs (draft-ietf-sshm-ssh-agent): its keys, and a signature by one.

Nothing that an agent says is believed for longer than it takes to check it: every length is bounded, every answer has a
deadline, and who asks for a signature verifies it.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from caissond.errors import CaissonError
from caissond.package.ssh_keys import Malformed, Reader, put_string

MAX_ANSWER_BYTES = 256 * 1024
MAX_KEYS = 2048
LOOK_TIMEOUT_S = 10
SIGN_TIMEOUT_S = 120
"""Somebody may have to touch a key or type a passphrase."""

_REQUEST_IDENTITIES, _IDENTITIES = 11, 12
_SIGN_REQUEST, _SIGN_RESPONSE = 13, 14
_RSA_SHA2_512 = 4


def agent_keys(*, timeout_s: float = LOOK_TIMEOUT_S) -> tuple[bytes, ...]:
    """The blobs of the keys that the agent holds.

    Raises:
        CaissonError: `sign.no_agent`, `sign.agent_failed`.
    """
    answer = _ask(bytes([_REQUEST_IDENTITIES]), _IDENTITIES, timeout_s=timeout_s)
    with _checked():
        count = answer.uint32()
        if count > MAX_KEYS:
            raise Malformed(f"it says that it holds {count} keys")
        blobs = tuple(_key_and_comment(answer) for _ in range(count))
        answer.end()
    return blobs


def agent_signature(key_blob: bytes, message: bytes) -> bytes:
    """A signature by one of its keys, as it stands in an SSHSIG. It is **not** verified here.

    Raises:
        CaissonError: `sign.no_agent`, `sign.agent_failed`.
    """
    fields = put_string(key_blob) + put_string(message) + _RSA_SHA2_512.to_bytes(4, "big")
    answer = _ask(bytes([_SIGN_REQUEST]) + fields, _SIGN_RESPONSE, timeout_s=SIGN_TIMEOUT_S)
    with _checked():
        signature = answer.string()
        answer.end()
    return signature


def _key_and_comment(answer: Reader) -> bytes:
    blob = answer.string(MAX_ANSWER_BYTES)
    answer.string(MAX_ANSWER_BYTES)
    return blob


def _ask(request: bytes, expected: int, *, timeout_s: float) -> Reader:
    deadline = time.monotonic() + timeout_s
    with _connected(timeout_s) as agent, _checked():
        agent.sendall(put_string(request))
        size_bytes = int.from_bytes(_receive(agent, 4, deadline), "big")
        if not 1 <= size_bytes <= MAX_ANSWER_BYTES:
            raise Malformed(f"an answer of {size_bytes} bytes is impossible")
        answer = Reader(_receive(agent, size_bytes, deadline))
        if (kind := answer.byte()) != expected:
            raise Malformed("it refused" if kind == 5 else f"it answered with a message of type {kind}")
    return answer


def _receive(agent: socket.socket, size_bytes: int, deadline: float) -> bytes:
    """Exactly so many bytes. The deadline is for all of them: one byte now and then does not go on for ever."""
    content = b""
    while len(content) < size_bytes:
        agent.settimeout(max(deadline - time.monotonic(), 0.001))
        part = agent.recv(size_bytes - len(content))
        if not part:
            raise Malformed("it hung up")
        content += part
    return content


@contextmanager
def _connected(timeout_s: float) -> Iterator[socket.socket]:
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise CaissonError("cannot reach the ssh-agent: SSH_AUTH_SOCK is not set", code="sign.no_agent")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.settimeout(timeout_s)
        try:
            agent.connect(path)
        except (OSError, ValueError) as exc:
            raise CaissonError(f"cannot reach the ssh-agent at {path}: {exc}", code="sign.no_agent") from exc
        yield agent


@contextmanager
def _checked() -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise CaissonError("cannot sign: the ssh-agent does not answer", code="sign.agent_failed") from exc
    except (Malformed, OSError) as exc:
        raise CaissonError(f"cannot sign with the ssh-agent: {exc}", code="sign.agent_failed") from exc
