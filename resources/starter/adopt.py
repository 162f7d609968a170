"""Takes newly trained picture weights into this folder: `python resources/starter/adopt.py DELIVERED_FOLDER`.

Knows nothing of what the tensors mean; it copies them and writes their shapes and their config into config.json.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PARTS = ("tower", "trunk", "projector", "lora")


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Read from the header of a safetensors file: 8 bytes of length, then JSON."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def adopted(config: dict[str, Any], delivered: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`config` with all that follows from the delivered config and the tensors in `folder`."""
    files = [delivered[part]["file"] for part in PARTS[1:3]]
    shapes = {name: shape for file in files for name, shape in tensor_shapes(folder / file).items()}
    return {
        **config,
        "picture_weights": [delivered[part]["file"] for part in PARTS],
        "tensor_shapes": dict(sorted(shapes.items())),
        "vision_config": delivered,
    }


def main(source: Path) -> None:
    config = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
    delivered = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config = adopted(config, delivered, source)
    for file in config["picture_weights"]:
        shutil.copyfile(source / file, HERE / file)
    (HERE / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
