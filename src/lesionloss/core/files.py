"""Atomic writes: write to a temporary name, flush to disk, rename. A reader sees a complete file or none."""

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lesionloss.core.process_identity import process_scope, process_started

UNFINISHED = ".writing-"  # prefix of temporary names, which a killed process leaves behind
FOREIGN_SECONDS = 86400.0
_OWNER = re.compile(re.escape(UNFINISHED) + r"(?P<scope>[0-9a-f]{8})\.(?P<pid>\d{1,10})\.(?P<started>\d{1,20})-")
LONGEST_NAME_BYTES = 230  # file systems take 255; an ending is still to come
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(path: Path) -> Path:
    """A new name beside `path`, known before the file exists, so that a signal in between leaves nothing behind.

    It names this process. What ended processes left in the folder is removed.
    """
    _remove_unfinished(path.parent)
    return path.with_name(f"{_prefix()}{secrets.token_hex(4)}{''.join(path.suffixes[-2:])}")


def _prefix() -> str:
    """The beginning of the temporary names of this process: where it runs, its number, and when it started."""
    pid = os.getpid()
    return f"{UNFINISHED}{_scope()}.{pid}.{process_started(pid) or 0}-"


@functools.cache
def _scope() -> str:
    return hashlib.sha256(process_scope().encode()).hexdigest()[:8]


def _remove_unfinished(folder: Path) -> None:
    """Remove the temporary files and folders of ended processes."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            owner = _OWNER.match(entry.name)
            if owner and _has_ended(owner, entry):
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)


def _has_ended(owner: re.Match[str], entry: "os.DirEntry[str]") -> bool:
    """Whether a process of this machine runs no more; those elsewhere count as ended after a day."""
    if owner["scope"] != _scope():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > FOREIGN_SECONDS
    return process_started(int(owner["pid"])) not in (int(owner["started"]), 0)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path beside `path`, which becomes `path`, or is removed on error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with _errors_name(path, temporary):
            temporary.touch(mode=0o600, exist_ok=False)
            yield temporary
            _sync(temporary)
            temporary.chmod(0o644)
            os.replace(temporary, path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_files(folder: Path, last: str, meanwhile: str = "") -> Iterator[Path]:
    """Write files that belong together: all of them or, on an error, none.

    Yields a temporary folder in `folder`. At the end its files move to the same places under `folder`, the one named
    `last` behind the others, so that where it is new, they are complete. `meanwhile` is the text of `last` while the
    others move, for those who read it after a kill.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_prefix()) as name:
        temporary = Path(name)
        with _errors_name(folder, temporary):
            yield temporary
            places = [file.relative_to(temporary) for file in temporary.rglob("*") if file.is_file()]
            places.sort(key=lambda place: (place.as_posix() == last, place))
            moves = [(temporary / place, folder / place) for place in places]
            if meanwhile:
                note = temporary / "meanwhile"
                write_text(note, meanwhile)
                moves.insert(0, (note, folder / last))
            _move(moves, temporary / "before")


def _move(moves: list[tuple[Path, Path]], before: Path) -> None:
    """Move files to their places; on an error, all that was there is put back."""
    before.mkdir()
    earlier: dict[Path, Path] = {}
    try:
        for number, (file, place) in enumerate(moves):
            place.parent.mkdir(parents=True, exist_ok=True)
            if place not in earlier:
                _keep(place, before / str(number))
                earlier[place] = before / str(number)
            os.replace(file, place)
            _sync(place.parent)
    except BaseException:
        for place, kept in earlier.items():
            os.replace(kept, place) if kept.exists() else place.unlink(missing_ok=True)
        raise


def _keep(file: Path, name: Path) -> None:
    """Give a file, if there is one, a second name; copy it where there are no links."""
    if not file.exists():
        return
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)


@contextlib.contextmanager
def _errors_name(path: Path, temporary: Path) -> Iterator[None]:
    """Let errors of the system name `path`, where they name its temporary place or nothing."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(error.filename or path).replace(str(temporary), str(path))
        raise


@contextlib.contextmanager
def atomic_folder(path: Path, *, keep_on_error: bool = False) -> Iterator[Path]:
    """Write a folder atomically: yields `path.partial`, which is renamed to `path`, or is removed on error."""
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _errors_name(path, partial):
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    _sync(file)
            os.rename(partial, path)
            _sync(path.parent)
    finally:
        if not keep_on_error:
            shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def create_text(path: Path, text: str) -> bool:
    """Create a text file atomically unless it exists; of several processes that try, one succeeds.

    It uses a hard link, which is atomic on network file systems too, or exclusive opening where there are no links.

    Returns:
        Whether this call created the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with temporary.open("x", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return temporary.stat().st_nlink == 2  # the link was made, but the reply was lost
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _opened_first(path, text)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _opened_first(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        return False
    return True


def is_file_name(name: object) -> bool:
    """Whether a value from outside is the name of a file inside a folder: a short text without slash and NUL."""
    if not isinstance(name, str) or Path(name).name != name or "\0" in name:
        return False
    return len(name.encode("utf-8", "surrogatepass")) <= LONGEST_NAME_BYTES


def sha256_of(path: Path) -> str:
    """The SHA-256 of the content of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
