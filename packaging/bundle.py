"""What goes into Fovea.app, as data: the packages that cannot live in a zip, each with its reason, and the Info.plist.

Written without a Mac and not run on one: the list comes from reading the packages, not from a bundle that failed.
"""

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAME = "Fovea"
IDENTIFIER = "app.fovea.Fovea"
SCRIPT = "app/__main__.py"

UNZIPPED = {
    "app": "looks for resources beside itself where no bundle says otherwise",
    "engine": "families are found by listing a folder",
    "mlx_lm": "imports a model's file by the name in its config",
    "transformers": "lists its own folder to know what can be imported",
    "tokenizers": "compiled",
    "safetensors": "compiled",
    "huggingface_hub": "imports lazily by name",
    "llguidance": "compiled; imported when the first answer is held to a form",
    "hf_xet": "compiled; imported by name when a download starts",
    "numpy": "compiled, with libraries of its own",
    "PIL": "compiled, with libraries of its own; plugins are imported by name",
    "pillow_heif": "compiled, with libheif; imported when the first HEIC comes",
    "cv2": "compiled; reads a config.py beside itself",
    "soundfile": "opens a library in the package next to it",
    "_soundfile_data": "that library",
    "keyring": "finds its back ends by metadata",
    "psutil": "compiled",
    "pygments": "imports lexers and styles by name",
    "jinja2": "imported by name from transformers",
    "regex": "compiled",
    "yaml": "compiled in part",
    "PySide6": "finds plugins and translations beside its libraries",
    "shiboken6": "compiled; PySide6 looks for it in the next folder",
}

COPIED = {
    "mlx": "a namespace package, which py2app cannot find; looks for its Metal kernels beside its library",
}
"""Whole folders, put beside the others once the bundle is built."""

EXCLUDED = {
    "torch": "the reference in the tests; transformers asks for it and does without",
    "tkinter": "no window here is Tk's",
    "pytest": "tests are not shipped",
    "PySide6.QtWebEngineCore": "not installed, and 250 MB where it is",
}

PICTURE_TYPES = (
    "public.png",
    "public.jpeg",
    "org.webmproject.webp",
    "com.compuserve.gif",
    "com.microsoft.bmp",
    "public.tiff",
    "public.avif",
    "public.heic",
)

CLIP_TYPES = (
    "public.mpeg-4",
    "com.apple.m4v-video",
    "com.apple.quicktime-movie",
    "org.matroska.mkv",
    "org.webmproject.webm",
    "public.avi",
    "public.mpeg",
    "public.mpeg-2-transport-stream",
)


def version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def information() -> dict[str, Any]:
    """The bundle's Info.plist, as far as py2app does not write it."""
    return {
        "CFBundleName": NAME,
        "CFBundleDisplayName": NAME,
        "CFBundleIdentifier": IDENTIFIER,
        "CFBundleShortVersionString": version(),
        "CFBundleVersion": version(),
        "CFBundleDocumentTypes": [
            {
                "CFBundleTypeName": name,
                "CFBundleTypeRole": "Viewer",
                # Never the default for anybody's files, only an offer under "Open With".
                "LSHandlerRank": "Alternate",
                "LSItemContentTypes": list(types),
            }
            for name, types in (("Picture", PICTURE_TYPES), ("Clip", CLIP_TYPES))
        ],
        "LSApplicationCategoryType": "public.app-category.productivity",
        "LSArchitecturePriority": ["arm64"],
        "LSMinimumSystemVersion": "14.0",
        "NSHighResolutionCapable": True,
        "NSHumanReadableCopyright": "Apache License 2.0",
    }


def options() -> dict[str, Any]:
    """For py2app. Qt takes files that are dropped on the icon as events, so argv is left alone."""
    return {
        "argv_emulation": False,
        "arch": "arm64",
        "packages": list(UNZIPPED),
        "excludes": [*EXCLUDED, *COPIED],
        "resources": ["resources", "LICENSE"],
        "plist": information(),
    }
