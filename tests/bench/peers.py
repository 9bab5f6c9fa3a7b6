"""Which routers can be measured on this machine, and how is each started?"""

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.scenarios import KEY

ROOT = Path(__file__).parents[2]

_NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  access_log off; client_body_temp_path {folder}/nb; proxy_temp_path {folder}/np;
  fastcgi_temp_path {folder}/nf; uwsgi_temp_path {folder}/nu; scgi_temp_path {folder}/ns;
  tcp_nodelay on; keepalive_requests 10000000; client_max_body_size 100m; client_body_buffer_size 1m;
  upstream engine {{ server unix:{folder}/engine.sock; keepalive 512; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""

_HAPROXY = """global
 nbthread 1
 maxconn 8000
defaults
 mode http
 timeout connect 5s
 timeout client 600s
 timeout server 600s
 option http-no-delay
 http-reuse always
frontend f
 bind 127.0.0.1:{port}
 default_backend b
backend b
 server s1 {folder}/engine.sock pool-max-conn 1024
"""

_RELAYD = """[server]
listen = "127.0.0.1:{port}"
api_key = "{key}"
[engine]
path = "{folder}/engine"
[queue]
depth = 8192
[[model]]
name = "m"
file = "{folder}/tiny.gguf"
slots = 256
replicas = 8
cache_ram_mib = 0
fit = "engine"
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A router under measurement.

    Attributes:
        name: Of its program.
        command: Starts it.
        port: Where it listens.
        has_children: Its own process is a tree; relayd's children are engines, which do not count.
    """

    name: str
    command: tuple[str, ...]
    port: int
    has_children: bool


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def peers(folder: Path, relayd: str, tcp_engine: int) -> Mapping[str, Peer]:
    """Return every router that is installed here, nginx first, its configuration written."""
    found = [_nginx(folder), _haproxy(folder), _relayd(folder, relayd), _plain(folder)]
    found += [_router(name, tcp_engine) for name in ("vllm-router", "sglang-router")]
    return {peer.name: peer for peer in found if shutil.which(peer.command[0])}


def _nginx(folder: Path) -> Peer:
    port, config = free_port(), folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    config.write_text(user + _NGINX.format(folder=folder, port=port))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return Peer("nginx", (program, "-c", str(config), "-p", str(folder)), port, has_children=True)


def _haproxy(folder: Path) -> Peer:
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(folder=folder, port=port))
    return Peer("haproxy", ("haproxy", "-f", str(config)), port, has_children=True)


def _relayd(folder: Path, program: str) -> Peer:
    port, config = free_port(), folder / "relay.toml"
    config.write_text(_RELAYD.format(folder=folder, port=port, key=KEY))
    config.chmod(0o600)
    return Peer("relayd", (program, "serve", "--config", str(config)), port, has_children=False)


def _plain(folder: Path) -> Peer:
    port = free_port()
    command = (sys.executable, "-P", "-m", "tests.bench.plain", str(port), str(folder / "engine.sock"))
    return Peer("plain aiohttp", ("env", f"PYTHONPATH={ROOT}", *command), port, has_children=False)


def _router(name: str, engine: int) -> Peer:
    port = free_port()
    launch = ("launch",) if name == "sglang-router" else ()
    options = {
        "--host": "127.0.0.1", "--port": str(port), "--worker-urls": f"http://127.0.0.1:{engine}",
        "--policy": "round_robin", "--prometheus-port": str(free_port()), "--log-level": "error",
    }  # fmt: skip
    flags = [part for pair in options.items() for part in pair]
    return Peer(name, (name, *launch, *flags), port, has_children=True)
