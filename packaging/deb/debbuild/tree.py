"""What goes where on the device, all below one folder that stands for its root.

Everything of `systemd/` and `udev/` and every `packaging/caisson-*` program is installed by its kind, so that a new one
cannot be forgotten here.
"""

import gzip
import shutil
import tomllib
from pathlib import Path

from debbuild.suites import Suite

LIBRARY = Path("usr/lib/caisson")
DOCUMENTS = Path("usr/share/doc/caisson")
_UNITS = (".service", ".socket", ".timer", ".path", ".target")
_ENTRY = """\
#!/{library}/bin/python3 -I
from {module} import {function}

{function}()
"""


def site_packages(root: Path, suite: Suite) -> Path:
    return root / LIBRARY / "lib" / suite.interpreter / "site-packages"


def lay_out(repository: Path, root: Path, suite: Suite) -> None:
    """Everything but the Python packages, the manual and the package's own papers."""
    _make_environment(root / LIBRARY, suite)
    _make_programs(repository, root)
    _copy_units(repository, root)
    for rule in sorted((repository / "udev").glob("*.rules")):
        _put(rule, root / "usr/lib/udev/rules.d" / rule.name)
    packaging = repository / "packaging"
    _put(packaging / "caisson.catalog", root / "usr/lib/systemd/catalog/caisson.catalog")
    for example in sorted((packaging / "examples").iterdir()):
        _put(example, root / DOCUMENTS / "examples" / example.name)
    (root / "etc/caisson/hooks.d").mkdir(parents=True)


def _make_environment(library: Path, suite: Suite) -> None:
    """A virtual environment as `python -m venv` makes it, without what it holds for people: PEP 405."""
    (library / "bin").mkdir(parents=True)
    (library / "bin/python3").symlink_to(f"../../../bin/{suite.interpreter}")
    (library / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {suite.python}\n"
    )
    _put(Path(__file__).parents[1] / "compile.py", library / "compile.py")


def _make_programs(repository: Path, root: Path) -> None:
    scripts = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    for name, entry in sorted(scripts.items()):
        module, _, function = entry.partition(":")
        program = _place_of(root, name)
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(_ENTRY.format(library=LIBRARY, module=module, function=function))
        program.chmod(0o755)
    for program in sorted((repository / "packaging").glob("caisson-*")):
        _put(program, root / LIBRARY / program.name, mode=0o755)


def _place_of(root: Path, program: str) -> Path:
    """What people type is in their PATH, what units start is not: that is named `caisson-…`."""
    return root / (LIBRARY if program.startswith("caisson-") else Path("usr/bin")) / program


def _copy_units(repository: Path, root: Path) -> None:
    for file in sorted((repository / "systemd").iterdir()):
        match file.name.split(".")[-2:]:
            case ["sysusers" | "tmpfiles" as kind, "conf"]:
                _put(file, root / f"usr/lib/{kind}.d/{file.name.removesuffix(f'.{kind}.conf')}.conf")
            case _ if file.suffix in _UNITS:
                _put(file, root / "usr/lib/systemd/system" / file.name)
            case _:
                raise ValueError(f"cannot tell where {file} is installed")


def _put(source: Path, target: Path, *, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def put_gzip(content: bytes, target: Path) -> None:
    """The same bytes every time: no name and no time in it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(content, 9, mtime=0))
