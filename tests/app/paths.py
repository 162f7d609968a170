"""Where the repository keeps what the app shows."""

from pathlib import Path

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
