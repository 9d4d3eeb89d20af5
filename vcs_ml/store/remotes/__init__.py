"""Places that keep bytes: which backend serves an address."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vcs_ml.errors import RemoteError, UserError
from vcs_ml.settings import Value, check_web, masked
from vcs_ml.store.remotes.local import Directory
from vcs_ml.store.remotes.protocol import Backend, NotSetUp, Place


def open_remote(
    url: str,
    options: Mapping[str, Value],
    *,
    base: Path,
    name: str = "",
    create: bool = False,
    note: Callable[[str], None] | None = None,
    patience: float | None = None,
) -> Backend:
    """The backend for `url`, with a remote's other settings; a relative directory is relative to `base`, the
    project's root. Errors call it by its `name`; `note` is told of requests that have to wait. With `patience`, a
    server that is silent for so many seconds is not asked again.

    With `create`, a directory that is missing is an empty place, made by what is first written, but its parents have to
    be there: a mount that is gone stays an error.
    Raises RemoteError where the directory is gone (NotSetUp where `create` would take it), or where `create` needs a
    place that can be written; UserError for a scheme that is not known, or settings that cannot be.
    """
    scheme, mark, _ = url.partition("://")
    if mark and scheme == "s3":
        from vcs_ml.store.remotes.s3 import Bucket  # noqa: PLC0415 - boto3 takes 150 ms

        _check_bundle(url, options, name)
        return Bucket(url, options, name, note, patience)
    if mark and scheme in ("https", "http"):
        from vcs_ml.store.remotes.http import Website, read_only  # noqa: PLC0415 - urllib3 takes 20 ms

        check_web(url)
        if create:
            raise read_only(Place(name, masked(url)))
        _check_bundle(url, options, name)
        return Website(url, options, name, note, patience)
    if mark and scheme != "file":
        raise UserError(
            f"no remote of the kind {scheme!r} is known: {masked(url)}",
            hint="a remote is a directory (/path or file:///path), s3://BUCKET/PREFIX or https://HOST/PATH",
        )
    path = base / (unquote(urlsplit(url).path) if mark else url)
    place = Place(name, str(path))
    if path.is_dir():
        return Directory(path, name)
    if path.exists():
        raise RemoteError(f"{place} is not a directory", hint=f"vml remote modify {place.name} url PATH")
    if create and path.parent.is_dir():
        return Directory(path, name)
    raise (NotSetUp if path.parent.is_dir() else RemoteError)(
        f"{place} does not exist",
        hint="is its disk mounted? otherwise create the directory, or change it: "
        f"vml remote modify {place.name} url PATH",
    )


def _check_bundle(url: str, options: Mapping[str, Value], name: str) -> None:
    """UserError for a ca_bundle that cannot be used: a failing connection would not tell it from a wrong server."""
    bundle = options.get("ca_bundle")
    if not isinstance(bundle, str):
        return
    if why := _unusable(bundle):
        place = Place(name, masked(url))
        hint = f"vml remote modify {place.name} ca_bundle FILE, from the project's top"
        raise UserError(f"{place}: ca_bundle {bundle}: {why}", hint=hint)


def _unusable(bundle: str) -> str | None:
    if os.path.exists(bundle) and not os.path.isfile(bundle):  # a FIFO would be waited for
        return "it is no file"
    import ssl  # noqa: PLC0415 - 10 ms, and few have certificates of their own

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(bundle)
    except OSError as error:
        return "there are no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
    return None
