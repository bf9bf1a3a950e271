"""What an entry may be called: one plain name in a package, a plain relative path in an image. No I/O.

A name is never repaired, but for the slash at its end. So whoever sees a `Member` may use its name as a key.
"""

from caissond.errors import Refusal
from caissond.model.text import has_hidden
from caissond.package.header import Header


def parse_package_name(header: Header) -> str:
    """The name of an entry at the root of a package; what a component is, is what Rust's `Path::components` says.

    Raises:
        Refusal: `archive.empty_entry_path`, `archive.nested_entry`, `archive.invalid_entry_path`.
    """
    name = parse_text(header.name)
    components = _components(name)
    if not components:
        raise Refusal("cannot accept an entry without a name", code="archive.empty_entry_path")
    if len(components) > 1:
        raise Refusal(
            f"cannot accept entry {name!r:.120}, expected it at the root of the package",
            code="archive.nested_entry",
        )
    if components[0] in {".", "..", "/"}:
        raise _invalid_path(name, "expected a plain file name")
    return components[0]


def _components(name: str) -> list[str]:
    """A leading `/` or `.` counts; repeated slashes, later dots and a slash at the end do not."""
    first, *rest = name.split("/")
    plain = [part for part in rest if part not in {"", "."}]
    if first or not rest:
        return [first, *plain] if first else []
    return ["/", *plain]


def parse_image_name(header: Header) -> str:
    """The path of an entry of an image; nothing is normalised but the slash behind a directory's name.

    Raises:
        Refusal: `archive.empty_entry_path`, `archive.invalid_entry_path`.
    """
    name = parse_text(header.name)
    if not name:
        raise Refusal("cannot accept an entry without a name", code="archive.empty_entry_path")
    plain = name.removesuffix("/") if header.type == b"5" else name
    if not {"", ".", ".."}.isdisjoint(plain.split("/")):
        raise _invalid_path(name, "expected a relative path without '.', '..' or empty parts")
    return plain


def parse_text(content: bytes) -> str:
    """A name or link target as text that can be shown.

    Raises:
        Refusal: `archive.invalid_entry_path`.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        raise _invalid_path(content, "it is not UTF-8") from exc
    if has_hidden(text):
        raise _invalid_path(content, "it holds characters that cannot be seen")
    return text


def _invalid_path(name: str | bytes, reason: str) -> Refusal:
    return Refusal(f"cannot accept entry name {name!r:.120}: {reason}", code="archive.invalid_entry_path")
