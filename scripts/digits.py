"""Write scikit-learn's bundled data as files: the digits as 1,797 images, the breast cancer table as CSV."""

from __future__ import annotations

import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path

from sklearn.datasets import load_digits


def write_images(target: Path) -> int:
    """Write every digit to `target`/CLASS/NUMBER.pgm and return how many there are.

    PGM is a header and then one byte a pixel (netpbm.sourceforge.net/doc/pgm.html), so no image library is
    needed; the digits' pixels run from 0 to 16.
    """
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = target / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        height, width = image.shape
        header = f"P5\n{width} {height}\n16\n".encode()
        (folder / f"{number:04}.pgm").write_bytes(header + image.astype("uint8").tobytes())
    return len(digits.images)


def copy_table(target: Path) -> None:
    """Copy breast_cancer.csv as scikit-learn ships it."""
    with as_file(files("sklearn.datasets.data") / "breast_cancer.csv") as source:
        shutil.copyfile(source, target)


def main(directory: Path) -> None:
    count = write_images(directory / "digits")
    copy_table(directory / "breast_cancer.csv")
    print(f"wrote {count:,} images to digits/ and the table breast_cancer.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
