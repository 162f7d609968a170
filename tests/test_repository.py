"""What holds for the repository as a whole: small files, no traces of a machine, a notice for whatever ships."""

import ast
import fnmatch
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = ("engine", "app", "packaging", "benchmarks", "tests")
LICENCES = ROOT / "resources" / "licences"
LONGEST = 300


@cache
def python_files(*rooms: str) -> tuple[Path, ...]:
    return tuple(sorted(path for room in rooms for path in (ROOT / room).rglob("*.py")))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_too_long():
    lengths = {
        shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files("engine", "app")
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_module_says_what_it_owns():
    silent = [shown(path) for path in python_files("engine", "app", "packaging", "benchmarks") if is_silent(path)]
    assert silent == []


def is_silent(path: Path) -> bool:
    return bool(tree(path).body) and not ast.get_docstring(tree(path))


def swallows(handler: ast.ExceptHandler) -> bool:
    """`except:`, `except Exception:` or `except BaseException:` with nothing in it."""
    broad = handler.type is None or (isinstance(handler.type, ast.Name) and handler.type.id.endswith("Exception"))
    return broad and all(isinstance(line, ast.Pass | ast.Continue) for line in handler.body)


def test_no_exception_is_swallowed():
    found = [
        f"{shown(path)}:{node.lineno}"
        for path in python_files(*CODE)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and swallows(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("try: f()\nexcept Exception: pass", True),
        ("try: f()\nexcept: pass", True),
        ("try: f()\nexcept OSError: pass", False),
        ("try: f()\nexcept Exception: log()", False),
    ],
)
def test_what_counts_as_swallowed(code, expected):
    [handler] = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ExceptHandler)]
    assert swallows(handler) is expected


def test_the_contract_needs_the_standard_library_alone():
    imported = {
        name.partition(".")[0] if not name.startswith("engine.") else name
        for path in python_files("engine/api")
        for node in ast.walk(tree(path))
        for name in imported_names(node)
    }
    assert imported
    foreign = {name for name in imported if name not in sys.stdlib_module_names and not name.startswith("engine.api")}
    assert foreign == set()


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.parametrize("module", ["engine", "engine.api.request", "engine.client", "engine.loop", "engine.host"])
def test_the_way_in_is_cheap_to_import(module):
    """The window is up before the heavy libraries are read, and they are read on the engine's thread."""
    heavy = ["mlx_lm", "transformers", "torch", "PySide6", "pillow_heif", "cv2"]
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


# `someone` is nobody: tests of what is said of paths need some.
TRACES = {
    "a package registry": r"pypi\.org|pythonhosted|registry\.npmjs|files\.python",
    "a developer's machine": r"(?<![\w.])/(?:root|home/\w+|Users/(?!someone/)\w+|work)/\w",
}


@pytest.mark.parametrize("trace", TRACES)
def test_no_traces_of_where_it_was_made(trace):
    pattern = re.compile(TRACES[trace])
    found = [
        f"{shown(path)}: {match[0]}"
        for path in written_files()
        if path != Path(__file__)
        for match in [pattern.search(path.read_text(encoding="utf-8"))]
        if match
    ]
    assert found == []


def written_files() -> list[Path]:
    """What people wrote: code, documents and settings, as git lists them."""
    kinds = {".py", ".md", ".toml", ".sh", ".txt", ".cfg", ".ini", ".json", ".yml", ".yaml", ""}
    return [path for path in tracked("") if path.suffix in kinds and path.is_file()]


def tracked(folder: str) -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder or "."]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def shipped() -> list[dict]:
    return json.loads((LICENCES / "shipped.json").read_text(encoding="utf-8"))


def test_everything_shipped_has_its_notice():
    patterns = [pattern for entry in shipped() for pattern in entry["files"]]
    files = [shown(path) for path in tracked("resources") if path.parent != LICENCES and path.is_file()]
    assert files
    uncovered = [name for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    assert uncovered == []


def test_every_notice_is_there_and_used():
    named = {notice for entry in shipped() for notice in entry["notices"]}
    there = {path.name for path in LICENCES.iterdir()} - {"shipped.json"}
    assert named == there


def test_every_notice_is_about_something():
    fetched = "resources/starter/base/*"
    files = [shown(path) for path in tracked("resources")]
    idle = [
        pattern
        for entry in shipped()
        if fetched not in entry["files"]
        for pattern in entry["files"]
        if not fnmatch.filter(files, pattern)
    ]
    assert idle == []


def test_own_licence_is_the_whole_text():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert (LICENCES / "Apache-2.0.txt").read_text(encoding="utf-8") == text


def test_constraints_hold_versions_and_no_addresses():
    lines = (ROOT / "packaging" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not re.match(r"^[a-z0-9.-]+==[^/@\s]+( ; .*)?$", line)] == []


def test_pins_that_matter():
    text = (ROOT / "packaging" / "constraints.txt").read_text(encoding="utf-8")
    # 6.12.0 loses references and aborts; the umbrella package carries a browser; the other OpenCV carries a Qt.
    assert re.search(r"^pyside6-essentials==6\.11\.", text, re.MULTILINE)
    assert not re.search(r"^(pyside6|opencv-python)==", text, re.MULTILINE)
