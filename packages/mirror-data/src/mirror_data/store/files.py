"""The bytes below a store: a local folder, or any fsspec URL (s3://, gs://, memory://).

Both answer the same few questions. Only ``create`` decides races: it makes a key that must not exist yet. Paths are
relative to the store, with ``/`` between parts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from mirror_data.disk import failure_code, sync_folder
from mirror_data.errors import BadInput, Busy, MirrorError, StoreError
from mirror_data.store.schema import PRIVATE
from mirror_data.store.swap import swap

NEW = ".new"  # ends the name of a file that is not whole yet; one that a killed writer left is written over

PATIENCE_SECONDS = 0.5  # the workers of a process that was killed a moment ago still hold their locks
RENAME_SECONDS = 30.0  # another's rename takes milliseconds, unless it was stopped just then


class Files(Protocol):
    """Keys and bytes of one store."""

    url: str
    shared: bool  # other processes see it too

    def read(self, key: str) -> bytes: ...  # raises KeyError
    def write(self, key: str, data: bytes) -> None: ...  # durable on return
    def replace(self, key: str, data: bytes) -> None: ...  # as write, but a reader finds the old bytes or the new
    def create(self, key: str, data: bytes) -> None: ...  # raises FileExistsError
    def exists(self, key: str) -> bool: ...
    def keys(self, prefix: str) -> list[str]: ...  # every key below prefix, sorted
    def children(self, prefix: str) -> list[str]: ...  # names one level below prefix, sorted
    def delete(self, prefix: str) -> None: ...  # a key or everything below it
    def claim(self, path: str) -> contextlib.AbstractContextManager[None]: ...  # raises Busy
    def replacing(self, path: str) -> contextlib.AbstractContextManager[Files]: ...  # where to write the new `path`
    def sweep(self) -> None: ...  # remove what writers that were killed while replacing had put aside
    def require_writable(self) -> None: ...  # to be asked before work that would be in vain


def open_files(url: str | os.PathLike) -> Files:
    """Local folder for a path, fsspec for a URL with a scheme."""
    text = os.fspath(url)
    if "://" in text and not text.startswith("file://"):
        return RemoteFiles(text)
    return LocalFiles(Path(text.removeprefix("file://")))


class LocalFiles:
    """A store in a folder. Writes are on the disk when the call returns; ``create`` is a rename under a lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)
        self.shared = True

    def read(self, key: str) -> bytes:
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None
        except OSError as error:
            raise _os_error(error, self.root / key, "read") from error

    def write(self, key: str, data: bytes) -> None:
        path = self.root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _os_error(error, path, "write") from error

    def replace(self, key: str, data: bytes) -> None:
        path = self.root / key
        self.write(key + NEW, data)
        try:
            sync_folder(path.parent)
            path.with_name(path.name + NEW).rename(path)
            sync_folder(path.parent)
        except OSError as error:
            raise _os_error(error, path, "write") from error

    def create(self, key: str, data: bytes) -> None:
        with self._lock(key, RENAME_SECONDS):
            if (self.root / key).exists():
                raise FileExistsError(key)
            self.replace(key, data)

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def keys(self, prefix: str) -> list[str]:
        base = self.root / prefix
        if base.is_file():
            return [prefix]
        found = []
        for folder, names, files in os.walk(base):
            names[:] = [name for name in names if name != PRIVATE]
            found += [(Path(folder) / name).relative_to(self.root).as_posix() for name in files]
        return sorted(found)

    def children(self, prefix: str) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.root / prefix) if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def delete(self, prefix: str) -> None:
        path = self.root / prefix
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _os_error(error, path, "delete") from error

    @contextlib.contextmanager
    def claim(self, path: str) -> Iterator[None]:
        """Hold the right to write ``path``; the system lets go of it when the process dies.

        Raises:
            Busy: another process holds it.
        """
        with self._lock(path, PATIENCE_SECONDS):
            yield

    def require_writable(self) -> None:
        if self.root.exists() and not os.access(self.root, os.W_OK):
            raise _os_error(OSError(errno.EROFS, "it is read-only here"), self.root, "write")

    @contextlib.contextmanager
    def replacing(self, path: str) -> Iterator[Files]:
        """Files to write the new ``path`` into, whole. When the block ends it takes the old one's place in one step.

        If the block fails, or the process dies, the old one stands as it was.

        Raises:
            Busy: another process is writing it.
        """
        self.sweep()
        place = self.root / PRIVATE / "staged" / _digest(path)
        with self.claim(path):
            try:
                staged = LocalFiles(place)
                for above in _documents_above(path):
                    if self.exists(above):
                        staged.write(above, self.read(above))
                yield staged
                swap(place / path, self.root / path)
            except OSError as error:
                raise _os_error(error, self.root / path, "replace a part of") from error
            finally:
                shutil.rmtree(place, ignore_errors=True)

    def sweep(self) -> None:
        for name in self.children(f"{PRIVATE}/staged"):
            with contextlib.suppress(Busy), self._lock_named(name, name, 0.0):  # held: its writer is alive
                shutil.rmtree(self.root / PRIVATE / "staged" / name, ignore_errors=True)

    def _lock(self, path: str, seconds: float) -> contextlib.AbstractContextManager[None]:
        return self._lock_named(_digest(path), path, seconds)

    @contextlib.contextmanager
    def _lock_named(self, name: str, path: str, seconds: float) -> Iterator[None]:
        lock = self.root / PRIVATE / "locks" / name
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("wb")
        except OSError as error:
            raise _os_error(error, lock, "write") from error
        with file:
            try:
                free = _locked(file, seconds)
            except OSError as error:  # a file system without locks
                raise _os_error(error, lock, "lock") from error
            if not free:
                message, hint = "another process is writing this item", "let it finish, then run again"
                raise Busy("BUSY", message, file=self.url, key=path, hint=hint)
            yield


class RemoteFiles:
    """A store behind fsspec. Object stores have no rename; ``create`` is their conditional put."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        try:
            self.fs, self.base = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise BadInput("BAD_OPTION", f"no such kind of store: {error}", key="--store", got=url) from None
        self.shared = not self.url.startswith("memory://")

    def _at(self, key: str) -> str:
        return f"{self.base}/{key}" if key else self.base

    def read(self, key: str) -> bytes:
        try:
            return self.fs.cat_file(self._at(key))
        except (FileNotFoundError, IsADirectoryError):
            raise KeyError(key) from None
        except OSError as error:
            raise _os_error(error, self._at(key), "read") from error

    def write(self, key: str, data: bytes) -> None:
        try:
            self.fs.pipe_file(self._at(key), data)
        except OSError as error:
            raise _os_error(error, self._at(key), "write") from error

    def replace(self, key: str, data: bytes) -> None:
        self.write(key, data)  # a put is whole or not at all

    def create(self, key: str, data: bytes) -> None:
        try:
            self.fs.pipe_file(self._at(key), data, mode="create")
        except FileExistsError:
            raise
        except OSError as error:
            raise _os_error(error, self._at(key), "write") from error

    def exists(self, key: str) -> bool:
        return self.fs.isfile(self._at(key))

    def keys(self, prefix: str) -> list[str]:
        self.fs.invalidate_cache()
        cut = len(self.fs._strip_protocol(self.base)) + 1
        found = [self.fs._strip_protocol(name)[cut:] for name in self.fs.find(self._at(prefix))]
        return sorted(key for key in found if not key.startswith(f"{PRIVATE}/"))

    def children(self, prefix: str) -> list[str]:
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(self._at(prefix), detail=True)
        except FileNotFoundError:
            return []
        return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")

    def delete(self, prefix: str) -> None:
        if self.fs.exists(self._at(prefix)):
            self.fs.rm(self._at(prefix), recursive=True)

    @contextlib.contextmanager
    def claim(self, path: str) -> Iterator[None]:
        """Nothing to hold on an object store: ``create`` of the commit document decides who wins."""
        yield

    @contextlib.contextmanager
    def replacing(self, path: str) -> Iterator[Files]:
        """Nothing can be exchanged on an object store: the old one goes first, its document before all else."""
        self.delete(f"{path}/zarr.json")
        self.delete(path)
        yield self

    def sweep(self) -> None:
        """Nothing is put aside."""

    def require_writable(self) -> None:
        """An object store tells with the first write."""


def _locked(file: IO[bytes], seconds: float) -> bool:
    """Take the lock of an open file, if it becomes free in time."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)


def _digest(path: str) -> str:
    """A file name for the path of a record."""
    return hashlib.sha256(path.encode()).hexdigest()[:32]


def _documents_above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join([*parts[:depth], "zarr.json"]) for depth in range(1, len(parts))]


def _os_error(error: OSError, path: object, verb: str) -> MirrorError:
    """The store's own error for a disk that is full, read-only or failing, naming the path."""
    code = failure_code(error)
    hint = {
        "DISK_FULL": "free some space and run again; what was committed is intact",
        "READ_ONLY": "make the folder writable for you, or choose another --store",
        "IO_ERROR": "check the disk; what was committed is intact",
    }[code]
    return StoreError(code, f"could not {verb} the store: {error.strerror}", file=path, hint=hint)
