"""The command on a root with nothing but a catalog, and what it answered."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from caissond.cli.app import run
from caissond.model.ids import UpdateId
from caissond.model.paths import Paths
from caissond.model.records import Outcome, PartVerdict, Verdict
from caissond.store.database import Database
from caissond.store.history import History
from fixtures.raw_package import package

CATALOG = """\
catalog_version = 1

[[services]]
name = "frontend"
service_revision = "r1"
platform = "linux/amd64"
runtime_mode = "docker"
[services.docker]
container_name = "frontend"
image_reference = "example/frontend:1.0.0"

[[services]]
name = "backend"
service_revision = "r1"
platform = "linux/amd64"
runtime_mode = "compose"
[services.compose]
project = "site"
file = "/opt/site/compose.yaml"
service = "backend"
"""
NOWHERE = "unix:///nonexistent/docker.sock"
BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.out.splitlines()]


@dataclass
class Command:
    """`caisson --root ROOT`, with whatever stands behind it."""

    root: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> Answer:
        self.capture.readouterr()
        code = run(["--root", str(self.root), *map(str, arguments)])
        return Answer(code, *self.capture.readouterr())

    def as_process(self, *arguments: str | Path | bytes, stdin: bytes | None = b"") -> Answer:
        """In a process of its own, with its output piped, as it is in a script.

        Args:
            stdin: what is typed; None: there is no standard input at all.
        """
        program: list[str | Path | bytes] = [
            sys.executable, "-c", "from caissond.cli.entry import main; main()", "--root", self.root,
        ]  # fmt: skip
        if stdin is None:
            program = ["sh", "-c", 'exec "$@" <&-', "sh", *program]
        done = subprocess.run(
            [*program, *arguments], input=stdin, capture_output=True, timeout=60,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    @property
    def paths(self) -> Paths:
        return Paths.below(self.root)

    def package(self, content: bytes = package(), name: str = "frontend.edgepkg") -> Path:
        path = self.root.parent / name
        path.write_bytes(content)
        return path

    def remember(self, outcome: Outcome = Outcome.SUCCEEDED, **fields: Any) -> Verdict:
        """Write a verdict into the history, as the daemon would have."""
        database = Database(self.paths.database)
        known = len(History(database).newest())
        part = PartVerdict(
            service="frontend", version=f"1.{known}.0", reference=f"example/frontend:1.{known}.0",
            previous_reference="example/frontend:0.9.0", outcome=outcome,
        )  # fmt: skip
        defaults: dict[str, Any] = {
            "update_id": UpdateId(f"{known:08x}-0000-4000-8000-000000000000"),
            "package": f"frontend-{known}.edgepkg",
            "parts": (part,),
            "started_at": BEGAN,
            "finished_at": BEGAN + timedelta(seconds=30),
        }
        verdict = Verdict(outcome=outcome, **{**defaults, **fields})
        History(database).add(verdict)
        database.close()
        return verdict
