"""Places that keep bytes: which backend serves an address."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vcs_ml import fs
from vcs_ml.errors import RemoteError, UserError
from vcs_ml.settings import Value
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import Backend, NotSetUp


def open_remote(
    url: str, options: Mapping[str, Value], *, base: Path, create: bool = False, dry_run: bool = False
) -> Backend:
    """The backend for `url`, with a remote's other settings; a relative directory is relative to `base`, the
    project's root.

    `create` makes a directory that is missing, but not its parents: a mount that is gone stays an error. A
    `dry_run` makes nothing: the place is then empty.
    Raises RemoteError where the directory is gone (NotSetUp where `create` would make it), UserError for a scheme that
    is not known.
    """
    scheme, _, rest = url.partition("://")
    if rest and scheme == "s3":
        from vcs_ml.store.remotes.s3 import Bucket  # noqa: PLC0415 - boto3 takes 150 ms

        return Bucket(url, options)
    if rest and scheme in ("https", "http"):
        from vcs_ml.store.remotes.http import Website  # noqa: PLC0415 - urllib3 takes 20 ms

        return Website(url, options)
    if rest and scheme != "file":
        raise UserError(
            f"no remote of the kind {scheme!r} is known: {url}",
            hint="a remote is a directory (/path or file:///path), s3://BUCKET/PREFIX or https://HOST/PATH",
        )
    path = base / (unquote(urlsplit(url).path) if rest else url)
    if path.is_dir():
        return Directory(path)
    if path.exists():
        raise RemoteError(f"the remote {path} is not a directory", hint="vml remote modify NAME url PATH")
    if create and path.parent.is_dir():
        if not dry_run:
            fs.make_directory(path)
        return Directory(path)
    raise (NotSetUp if path.parent.is_dir() else RemoteError)(
        f"the remote directory {path} does not exist",
        hint="is its disk mounted? otherwise create the directory, or change it: vml remote modify NAME url PATH",
    )
