"""Builds Fovea.app on a Mac: `pip install -e '.[bundle]'`, `make setup`, `python setup_app.py py2app`.

Not run on a Mac yet. Signing, notarising and a disk image are not here either. What goes in: packaging/bundle.py.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

from py2app.build_app import py2app
from setuptools import setup

sys.path.insert(0, str(Path(__file__).resolve().parent / "packaging"))

import bundle


class BuildApp(py2app):
    def finalize_options(self) -> None:
        # Read from pyproject.toml by setuptools, and refused by py2app, which looks at imports instead.
        self.distribution.install_requires = None
        super().finalize_options()

    def run(self) -> None:
        super().run()
        library = Path(self.dist_dir, f"{bundle.NAME}.app", "Contents", "Resources", "lib")
        library /= f"python{sys.version_info.major}.{sys.version_info.minor}"
        for name in bundle.COPIED:
            [folder] = importlib.util.find_spec(name).submodule_search_locations
            shutil.copytree(folder, library / name, dirs_exist_ok=True)


setup(
    name=bundle.NAME,
    version=bundle.version(),
    app=[bundle.SCRIPT],
    packages=[],
    options={"py2app": bundle.options()},
    cmdclass={"py2app": BuildApp},
)
