"""What file systems can do, found out by trying: locks, links, names, bits and times."""

from __future__ import annotations

import fcntl
import os
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vcs_ml import fs


class Abilities(NamedTuple):
    """One directory's file system; `granularity` of its time stamps in nanoseconds, `free` in bytes."""

    locks: bool
    case_sensitive: bool
    keeps_unicode: bool
    executable_bits: bool
    granularity: int
    free: int


def abilities(directory: Path) -> Abilities:
    """Try all of it in a scratch directory in `directory`. OSError where nothing can be made there."""
    with _scratch(directory) as place:
        return Abilities(
            locks(place),
            case_sensitive(place),
            keeps_unicode(place),
            executable_bits(place),
            fs.clock(place)[1],
            shutil.disk_usage(place).free,
        )


def locks(place: Path) -> bool:
    """Whether flock keeps a second one out."""
    fds = [os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600) for _ in range(2)]
    try:
        fcntl.flock(fds[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fds[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        for fd in fds:
            os.close(fd)


def case_sensitive(place: Path) -> bool:
    """Whether `a` and `A` are two files."""
    (place / "case").touch()
    return not (place / "CASE").exists()


def keeps_unicode(place: Path) -> bool:
    """Whether a name comes back as the bytes it was given, and its other form is another name."""
    names = [unicodedata.normalize(form, "\u00e9").encode() for form in ("NFC", "NFD")]
    folder = os.fsencode(place) + b"/unicode"
    os.mkdir(folder)
    for name in names:
        os.close(os.open(folder + b"/" + name, os.O_WRONLY | os.O_CREAT, 0o600))
    return sorted(os.listdir(folder)) == sorted(names)


def executable_bits(place: Path) -> bool:
    """Whether a file can have the bit, and another one not."""
    modes = []
    for mode in (0o600, 0o700):
        file = place / f"mode{mode}"
        file.touch()
        file.chmod(mode)
        modes.append(file.stat().st_mode & 0o700)
    return modes == [0o600, 0o700]


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    place = directory / fs.tmp_name()
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
