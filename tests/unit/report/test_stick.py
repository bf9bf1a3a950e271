"""Deliveries to a medium: what is asked, and what becomes of an answer that is late, wrong or missing."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caissond.errors import CaissonError
from caissond.report.stick import (
    MAX_FILE_BYTES,
    MAX_FILES,
    Delivery,
    Outside,
    deliver,
    encode_delivery,
    parse_delivery,
)

DELIVERY = Delivery(Path("/run/caisson/media/sdb1"), "pump7", {"inventory.txt": "ü\n"}, "8:17", "23")


@contextmanager
def unit(path: Path, answer: Callable[[bytes], bytes]) -> Iterator[None]:
    """What systemd starts for a connection."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as file:
            connection.sendall(answer(file.read()))

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def problem(folder: Path, answer: bytes) -> str:
    path = folder / "stick.sock"
    with unit(path, lambda _request: answer), pytest.raises(CaissonError) as caught:
        deliver(DELIVERY, Outside(path, folder, folder))
    assert caught.value.code == "media.receipt_failed"
    return caught.value.message


def test_unit_gets_what_is_to_be_written(tmp_path: Path) -> None:
    got: list[Delivery] = []

    def answer(request: bytes) -> bytes:
        got.append(parse_delivery(request))
        return b"ok\n"

    with unit(tmp_path / "stick.sock", answer):
        deliver(DELIVERY, Outside(tmp_path / "stick.sock", tmp_path, tmp_path))
    assert got == [DELIVERY]


def test_what_is_wrong_reaches_the_operator(tmp_path: Path) -> None:
    assert problem(tmp_path, b"it is full\n") == "it is full"


def test_unit_that_dies_is_told(tmp_path: Path) -> None:
    assert problem(tmp_path, b"") == "caisson-stick ended without an answer"


def test_socket_that_nobody_serves_is_told(tmp_path: Path) -> None:
    path = tmp_path / "stick.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    with pytest.raises(CaissonError, match="caisson-stick cannot be reached: Connection refused"):
        deliver(DELIVERY, Outside(path, tmp_path, tmp_path))


def changed(**changes: object) -> bytes:
    return json.dumps(json.loads(encode_delivery(DELIVERY)) | changes).encode()


@pytest.mark.parametrize(
    "document",
    {
        "no JSON": b"{",
        "a list": b"[]",
        "another path": changed(place="run/caisson"),
        "a path with a zero byte": changed(place="/a\0b"),
        "no file": changed(files={}),
        "too many files": changed(
            files={f"20260131T235959Z-{n:08x}-a.txt": "" for n in range(MAX_FILES + 1)}
        ),
        "a large file": changed(files={"inventory.txt": "x" * (MAX_FILE_BYTES + 1)}),
        "another name": changed(files={"../inventory.txt": ""}),
        "bytes that are none": changed(files={"inventory.txt": 7}),
        "a number for a host": changed(host=7),
        "a number for a device": changed(device=8),
        "no sequence": changed(sequence=None),
    }.items(),
    ids=lambda item: item[0],
)
def test_delivery_that_caissond_does_not_make_is_refused(document: tuple[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"expected|Expecting"):
        parse_delivery(document[1])
