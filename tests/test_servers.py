"""The S3 servers that tests use: what each of them honours, and that none outlives its tests."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.servers import S3Bucket, Server

ROOT = Path(__file__).parent.parent


def test_bucket_is_new_and_keeps_what_is_put(s3: S3Bucket) -> None:
    assert s3.keys() == []
    for key in ("a/b", "a-b", "a.b"):
        s3.put(key, key.encode())
    assert s3.keys() == ["a-b", "a.b", "a/b"]
    s3.flip("a/b", 1)
    assert s3.get("a/b") == b"a\xd0b"
    s3.clear()
    assert s3.keys() == []


def test_moto_honours_conditional_writes(moto: Server) -> None:
    bucket = moto.bucket()
    bucket.client.put_object(Bucket=bucket.name, Key="key", Body=b"first", IfNoneMatch="*")

    with pytest.raises(ClientError, match="PreconditionFailed"):
        bucket.client.put_object(Bucket=bucket.name, Key="key", Body=b"second", IfNoneMatch="*")

    assert bucket.get("key") == b"first"


def test_rclone_ignores_conditional_writes(rclone: Server) -> None:
    bucket = rclone.bucket()
    for content in (b"first", b"second"):
        bucket.client.put_object(Bucket=bucket.name, Key="key", Body=content, IfNoneMatch="*")

    assert bucket.get("key") == b"second"


def test_rclone_shows_what_happens_to_its_files(rclone: Server) -> None:
    bucket = rclone.bucket()
    bucket.put("a/key", b"content")
    assert rclone.directory
    path = rclone.directory / bucket.name / "a/key"
    assert path.read_bytes() == b"content"

    path.unlink()

    with pytest.raises(ClientError, match="NoSuchKey"):
        bucket.get("a/key")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells when a stranger's process ends")
@pytest.mark.parametrize("name", ["moto", "rclone"])
def test_server_ends_with_the_process_that_started_it(name: str, tmp_path: Path) -> None:
    code = f"""
import pathlib, sys
from tests import servers
place = pathlib.Path({str(tmp_path)!r})
started = servers.moto_server(place) if {name!r} == "moto" else servers.rclone_server(place / "buckets", place / "home")
with started as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=-1, stdout=-1, text=True) as owner:
        assert owner.stdout
        server = os.pidfd_open(int(owner.stdout.readline()))
        owner.send_signal(signal.SIGKILL)

    # Readable once it has ended; if it never does, the test hangs no longer than this.
    try:
        assert select.select([server], [], [], 30)[0] == [server]
    finally:
        os.close(server)
