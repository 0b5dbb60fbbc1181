"""Trees of small files, as tests need them."""

from __future__ import annotations

from pathlib import Path


def written(folder: Path, files: dict[str, str]) -> Path:
    """Write files into a folder, by their paths below it; return the folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
