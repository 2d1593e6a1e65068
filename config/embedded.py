"""Where the embedded parts keep their files, and their secrets.

Embedded means: SQLite and a Valkey server of our own under DATA_DIR, for a laptop. Settings and the supervisor behind
`manage.py up` both ask here, so that neither has to tell the other.
"""

import contextlib
import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from urllib.parse import quote

# A Unix socket's path fits 107 bytes on Linux and 103 on macOS.
MAX_SOCKET_PATH = 100


def valkey_folder(data_dir: Path) -> Path:
    return data_dir / "valkey"


def valkey_socket(data_dir: Path) -> Path:
    """The server's Unix socket: in the data folder, or in a private folder with a short path where that is too long."""
    path = valkey_folder(data_dir) / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"proofdeck-{os.getuid()}-{name}" / "valkey.sock"


def valkey_url(data_dir: Path) -> str:
    """Broker URL of the embedded server, in the form that kombu and Celery's result backend read."""
    password = kept_secret(valkey_folder(data_dir) / "password")
    return f"redis+socket://:{quote(password)}@{quote(str(valkey_socket(data_dir)))}"


def kept_secret(path: Path, *, size: int = 48) -> str:
    """The secret in that file; made of `size` random bytes and written (owner only) the first time."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written beside and linked into place, so that two processes starting at once agree on one secret.
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # mode 0600
        file.write(secrets.token_urlsafe(size))
        file.flush()
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)
    return path.read_text().strip()
