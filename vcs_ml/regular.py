"""Regular files, read whole: what a clone brings along may be a link to a device, or larger than the memory."""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from typing import Final

from vcs_ml.errors import UserError
from vcs_ml.output import quote, size

_HINT: Final = "replace it by a file, or remove it"
_WINDOW: Final = 1 << 20


def read(path: Path, limit: int, *, follow: bool = False, hint: str = _HINT) -> bytes | None:
    """The bytes of a file; None if there is none. UserError for what is no regular file, or larger than `limit` bytes.

    Without `follow`, a symbolic link is no regular file either. `hint` is for what is too large.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would be waited for
    try:
        fd = os.open(path, flags | (0 if follow else os.O_NOFOLLOW))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise UserError(f"{quote(path)} is no regular file but a link", hint=_HINT) from None
        raise UserError(f"{quote(path)} cannot be read: {error.strerror}", hint="ls -l shows what it is") from None
    st = os.fstat(fd)
    if not stat.S_ISREG(st.st_mode):
        os.close(fd)
        raise UserError(f"{quote(path)} is no regular file", hint=_HINT)
    with FileIO(fd) as file:
        raw = file.read(st.st_size + 1) if st.st_size <= limit else None
        while raw and len(raw) <= limit and (more := file.read(_WINDOW)):  # it has grown, or is one of /proc
            raw += more
    if raw is None or len(raw) > limit:
        raise UserError(f"{quote(path)} is larger than {size(limit)}", hint=hint)
    return raw
