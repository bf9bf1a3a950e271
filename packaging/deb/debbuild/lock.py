"""What of requirements.lock the programs need when they run: no tests, no linters."""

import re
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from debbuild.suites import Suite

PROJECT = "caissond"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==")


def parse_lock(text: str) -> dict[str, str]:
    """The pins of a lock file by name, each with its hashes as they stand."""
    pins: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if start := _PIN.match(line):
            name = canonicalize_name(start["name"])
            pins[name] = ""
        if name and not line.lstrip().startswith("#"):
            pins[name] += line + "\n"
    return {name: pin.rstrip(" \\\n") + "\n" for name, pin in pins.items()}


def needed_names(suite: Suite, project: str = PROJECT) -> set[str]:
    """The names of all that the project depends on, the installed metadata says."""
    environment = {
        "python_version": suite.python,
        "python_full_version": f"{suite.python}.0",
        "sys_platform": "linux",
        "extra": "",
    }
    needed: set[str] = set()
    todo = [project]
    while todo:
        for text in distribution(todo.pop()).requires or []:
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            if name in needed or (requirement.marker and not requirement.marker.evaluate(environment)):
                continue
            needed.add(name)
            todo.append(name)
    return needed
