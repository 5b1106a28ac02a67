"""Debian's nginx as a source: static files, sent by sendfile, no log."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from perf.stage.content import INDEX_NAME, MANIFEST_TYPE
from perf.stage.processes import StageError, end, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.stage.certificates import Certificates
    from perf.stage.content import Content
__all__ = ["locate_nginx", "nginx_version", "serve_nginx"]

BACKLOG = 4096
LARGE_BYTES = 2**20
"""From here on, a blob is sent without TCP_CORK."""

# `user`: a superuser's workers would be "nobody", who may not look into the folders where content lies.
# `keepalive_requests`: its default, 1000, would have clients open new connections in the middle of a run.
# `tcp_nopush` (TCP_CORK) joins head and body of a small file in one segment, which spares both sides some 10 µs. For
# large files it is a trap: measured on Linux 6.18, it took nginx from 0.12 to 0.38 CPU-seconds a gigabyte, and from 7
# to 2.5 GB/s on loopback. So large blobs go through a location without it.
_CONFIGURATION = """
daemon off;
{user}
worker_processes {workers};
worker_rlimit_nofile {files};
error_log {folder}/error.log error;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; multi_accept on; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    open_file_cache max=10000 inactive=600s;
    open_file_cache_valid 600s;
    open_file_cache_min_uses 1;
    server_tokens off;
    etag off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map_hash_max_size 262144;
    map_hash_bucket_size 512;
    map $uri $content_digest {{
        include {folder}/digests.map;
        ~/(?<named>sha256:[0-9a-f]+)$ $named;
    }}
    map $uri $is_large {{
        include {folder}/large.map;
        default "";
    }}
    server {{
        listen {address}{ssl};
        {certificates}
        root {root};
        add_header Docker-Content-Digest $content_digest;
        add_header Docker-Distribution-Api-Version registry/2.0;
        location = /v2/ {{ default_type application/json; return 200 "{{}}"; }}
        location / {{ default_type application/json; }}
        location ~ ^/v2/.*/blobs/ {{
            default_type application/octet-stream;
            if ($is_large) {{ rewrite ^ /large$uri last; }}
        }}
        location /large/ {{
            internal;
            default_type application/octet-stream;
            alias {root}/;
            tcp_nopush off;
        }}
        location ~ /manifests/ {{ default_type {manifest_type}; }}
    }}
}}
"""

_TLS = """
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:perf:10m;
        ssl_buffer_size 16k;
"""


def locate_nginx() -> str | None:
    """The path of the program, None where it is not installed; it may lie where only the superuser looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def nginx_version(program: str) -> str:
    """Such as "nginx 1.22.1"."""
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().rpartition(" ")[2].replace("/", " ")


@contextmanager
def serve_nginx(
    content: Content, *, certificates: Certificates | None = None, workers: int = 2, files: int = 20_000
) -> Iterator[tuple[str, int]]:
    """nginx over `content`: its address and the id of its first process. Raises StageError where it does not start."""
    program = locate_nginx()
    if program is None:
        raise StageError("nginx is not installed (Debian: apt-get install nginx)")
    with tempfile.TemporaryDirectory(prefix="perf-nginx-") as name, socket.socket() as listener:
        # nginx cannot say which port the kernel chose, so it is given a socket that listens already, in the way in
        # which it hands over its own sockets when its binary is replaced.
        listener.bind(("127.0.0.1", 0))
        listener.listen(BACKLOG)
        listener.setblocking(False)  # of the socket, so it holds in nginx too, which takes for granted that it is so
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        folder = Path(name)
        _write_maps(content.root, folder)
        (folder / "nginx.conf").write_text(
            _CONFIGURATION.format(
                user="user root root;" if os.geteuid() == 0 else "",
                workers=workers,
                files=files,
                folder=folder,
                address=address,
                ssl="" if certificates is None else " ssl",
                certificates=""
                if certificates is None
                else _TLS.format(certificate=certificates.certificate, key=certificates.key),
                root=content.root,
                manifest_type=MANIFEST_TYPE,
            )
        )
        process = start(
            [program, "-e", str(folder / "error.log"), "-p", name, "-c", str(folder / "nginx.conf")],
            environment={"NGINX": f"{listener.fileno()};"},
            hands_over=[listener.fileno()],
            stdout=subprocess.DEVNULL,
        )
        listener.close()
        try:
            yield address, process.pid
        finally:
            end(process)


def _write_maps(root: Path, folder: Path) -> None:
    """Which digest a tag stands for, and which blobs are large, as nginx's maps read it."""
    index = json.loads((root / INDEX_NAME).read_bytes())
    large = [digest for digest, size in index["blobs"].items() if size >= LARGE_BYTES]
    with (folder / "digests.map").open("w") as digests, (folder / "large.map").open("w") as larges:
        for repository, tags in index["manifests"].items():
            for tag, (digest, _) in tags.items():
                digests.write(f"/v2/{repository}/manifests/{tag} {digest};\n")
            blobs = root / "v2" / repository / "blobs"
            larges.writelines(f"/v2/{repository}/blobs/{digest} 1;\n" for digest in large if (blobs / digest).exists())
