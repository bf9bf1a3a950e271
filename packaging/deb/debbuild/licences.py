"""debian/copyright, machine-readable (DEP 5): what each library that comes along says of itself."""

import textwrap
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from debbuild.lock import PROJECT
from debbuild.tree import LIBRARY

_HEAD = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Caisson
Upstream-Contact: The Caisson authors
"""
_COMMON = {
    "Apache License": "Apache-2.0",
    "Mozilla Public License": "MPL-2.0",
    "GNU LESSER GENERAL PUBLIC LICENSE": "LGPL-2.1",
}
"""Long texts that every Debian system has, by how they begin."""
_LONG_LINES = 60
_BY_NAME = {"markdown-it-py": "MIT", "mdurl": "MIT", "sdnotify": "MIT"}
"""For those that say it in words only."""


def copyright_file(site_packages: Path, own_licence: str) -> str:
    """
    Args:
        site_packages: where the libraries were installed to.
        own_licence: the text of ours.
    """
    found = sorted(distributions(path=[str(site_packages)]), key=lambda one: canonicalize_name(one.name))
    ours = _stanza("*", _holders(own_licence), "MIT", own_licence)
    others = [_stanza_of(one) for one in found if canonicalize_name(one.name) != PROJECT]
    return "\n".join([_HEAD, ours, *others])


def _stanza_of(distribution: Distribution) -> str:
    texts = [file.read_text("utf-8") for file in _licence_files(distribution)]
    name = canonicalize_name(distribution.name)
    said = distribution.metadata
    short = next(
        (said[key] for key in ("License-Expression", "License") if key in said), _BY_NAME.get(name, "")
    )
    places = sorted({f"{LIBRARY}/lib/*/site-packages/{part}" for part in _top_level(distribution)})
    holders = [line for text in texts for line in _holders(text)]
    owners = holders or [f"the authors of {distribution.name}"]
    body = "\n".join(_or_reference(text) for text in texts)
    return _stanza("\n ".join(places), owners, f"{name}-{_one_word(short)}", body)


def _top_level(distribution: Distribution) -> set[str]:
    parts = (file.parts[0] + ("/*" if len(file.parts) > 1 else "") for file in distribution.files or [])
    return {part for part in parts if not part.startswith("..")}


def _licence_files(distribution: Distribution) -> list[PackagePath]:
    files = [file for file in distribution.files or [] if ".dist-info" in file.parts[0]]
    return sorted(file for file in files if file.name.upper().startswith(("LICEN", "COPYING", "NOTICE")))


def _one_word(licence: str) -> str:
    return (
        licence.removesuffix(" License").replace(" OR ", "-or-").replace(" AND ", "-and-").replace(" ", "-")
    )


def _holders(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    found = [
        line for line in lines if line.lower().startswith(("copyright (c) ", "copyright 1", "copyright 2"))
    ]
    return [line for line in found if "<year>" not in line and "Free Software Foundation" not in line]


def _or_reference(text: str) -> str:
    for title, name in _COMMON.items():
        if len(text.splitlines()) > _LONG_LINES and title in text[:400]:
            return f"On Debian systems the whole text is in /usr/share/common-licenses/{name}.\n"
    return text


def _stanza(files: str, holders: list[str], licence: str, text: str) -> str:
    lines = (line.rstrip() or "." for line in textwrap.dedent(text.expandtabs()).strip().splitlines())
    body = "".join(f" {line}\n" for line in lines)
    copyrights = "\n ".join(dict.fromkeys(holders))
    return f"Files: {files}\nCopyright: {copyrights}\nLicense: {licence}\n{body}"
