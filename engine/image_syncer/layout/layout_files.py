"""The files of a layout directory: every one is opened step by step from the directory itself, and no link is followed
below it, so that nothing outside of it can be read or written, whoever made it.

OCI image specification 1.1, "Image Layout": `oci-layout`, `index.json`, `blobs/<algorithm>/<hex>`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.layout.place_error import PlaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.oci import Digest

__all__ = ["LayoutFiles"]

ALGORITHMS = ("sha256", "sha512")
_OWN = ".image-syncer"
"""What we keep in a layout while we write it: the lock, and files that are not whole yet."""
_FILE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""O_NONBLOCK: a pipe or a device under the name of a blob must not make us wait before it is refused."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


class LayoutFiles:
    """Reads, and with `writes` changes, the files below `root`; may be used by several threads.

    Raises PlaceError where `root` cannot be used, or another process writes it.
    """

    def __init__(self, root: str, *, writes: bool) -> None:
        self.root = root
        self.writes = writes
        if writes:
            with _told(f"cannot make the directory {root}"):
                Path(root).mkdir(parents=True, exist_ok=True)
        with _told(f"cannot open the directory {root}"):
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._blobs: dict[str, int] = {}
        self._own = -1
        self._lock = -1
        try:
            if writes:
                self._begin_writing()
            self._open_blobs()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give up the lock and all that is open, and take away what only we need; may be called again."""
        if self._own >= 0:
            self._sweep()
            with suppress(OSError):
                os.unlink("lock", dir_fd=self._own)
            with suppress(OSError):
                os.rmdir(_OWN, dir_fd=self._root)
        for descriptor in (self._lock, self._own, *self._blobs.values(), self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._own = self._root = -1
        self._blobs.clear()

    # Blobs

    def blob_size(self, digest: Digest) -> int | None:
        """The size of a blob in bytes; None where there is none that is a file."""
        directory = self._blobs.get(digest.algorithm, -1)
        if directory < 0:
            return None
        try:
            found = os.stat(digest.hex, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def open_blob(self, digest: Digest) -> int | None:
        """A descriptor of a blob, for reading; None where there is none that is a file."""
        directory = self._blobs.get(digest.algorithm, -1)
        try:
            return None if directory < 0 else _open_regular(digest.hex, directory)
        except PlaceError:
            return None

    def drop_blob(self, digest: Digest) -> None:
        """Take a blob away."""
        with suppress(FileNotFoundError):
            os.unlink(digest.hex, dir_fd=self._blobs[digest.algorithm])

    # Files at the top

    def read_top(self, name: str, limit: int) -> bytes | None:
        """The bytes of a file beside `blobs`; None where there is none. Raises PlaceError for more than `limit`."""
        descriptor = _open_regular(name, self._root)
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            raise PlaceError(f"{self.root}/{name} has more than {limit} bytes", "this is no image layout")
        return raw

    def replace_top(self, name: str, raw: bytes) -> None:
        """Let a file beside `blobs` have other content, all at once."""
        descriptor, temporary = self.new_file()
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=self._own, dst_dir_fd=self._root)
        except BaseException:
            self.drop_new(temporary)
            raise
        os.fsync(self._root)

    def other_names(self) -> list[str]:
        """What is in the directory beside our own, sorted."""
        return sorted(name for name in _names_in(self._root) if name != _OWN)

    # What is not whole yet

    def new_file(self) -> tuple[int, str]:
        """A file for bytes that come, and its name until then."""
        name = uuid.uuid4().hex
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE, 0o644, dir_fd=self._own), name

    def drop_new(self, name: str) -> None:
        """Take such a file away."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._own)

    def keep_as_blob(self, name: str, digest: Digest) -> None:
        """Let such a file, which is on the disk, be the blob of that digest."""
        directory = self._blobs_of(digest.algorithm)
        os.rename(name, digest.hex, src_dir_fd=self._own, dst_dir_fd=directory)
        os.fsync(directory)

    def _begin_writing(self) -> None:
        with _told(f"cannot write in the directory {self.root}"):
            while self._own < 0:
                self._try_lock()
            self._sweep()

    def _try_lock(self) -> None:
        """Have the lock, unless it was taken away, with its directory, by one who ended just now."""
        own = _make_directory(_OWN, self._root)
        lock = -1
        try:
            lock = os.open("lock", os.O_RDWR | os.O_CREAT | _FILE, 0o600, dir_fd=own)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(f"{_OWN}/lock", dir_fd=self._root)):
                self._own, self._lock = own, lock
                return
        except FileNotFoundError:
            pass
        except BlockingIOError:
            raise PlaceError(f"another process writes into {self.root}", "wait until it is done, or end it") from None
        finally:
            if self._own < 0:
                for descriptor in (own, lock):
                    if descriptor >= 0:
                        os.close(descriptor)

    def _sweep(self) -> None:
        for name in _names_in(self._own):
            if name != "lock":
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._own)

    def _open_blobs(self) -> None:
        for algorithm in ALGORITHMS:
            with _told(f"cannot open {self.root}/blobs/{algorithm}"), suppress(FileNotFoundError):
                blobs = os.open("blobs", _DIRECTORY, dir_fd=self._root)
                try:
                    self._blobs[algorithm] = os.open(algorithm, _DIRECTORY, dir_fd=blobs)
                finally:
                    os.close(blobs)

    def _blobs_of(self, algorithm: str) -> int:
        directory = self._blobs.get(algorithm, -1)
        if directory < 0:
            blobs = _make_directory("blobs", self._root)
            try:
                directory = self._blobs[algorithm] = _make_directory(algorithm, blobs)
            finally:
                os.close(blobs)
        return directory


def _names_in(directory: int) -> list[str]:
    return os.listdir(directory)


def _make_directory(name: str, parent: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _open_regular(name: str, directory: int) -> int | None:
    """A descriptor of the file; None where there is none. Raises PlaceError for what is no file of its own."""
    try:
        descriptor = os.open(name, os.O_RDONLY | _FILE, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _no_file(name) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(name)
    return descriptor


def _no_file(name: str) -> PlaceError:
    return PlaceError(f"{name} in the layout is a link or no file", "links are not followed: put the file itself there")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What goes wrong with the directory, as a PlaceError that begins with `what`."""
    try:
        yield
    except PlaceError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            mend = "links are not followed below a layout: put the directory itself there"
        elif error.errno == errno.ENOENT:
            mend = "give the path of a layout that exists"
        elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            mend = "give a directory that this user may use so"
        else:
            mend = ""
        raise PlaceError(f"{what}: {error.strerror}", mend) from None
