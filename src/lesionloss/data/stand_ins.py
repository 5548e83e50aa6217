"""What can lie in the place of a file: a pointer of Git LFS or git-annex, a web page, a link that leads nowhere."""

from pathlib import Path

STARTS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
    b"/annex/objects/": "a pointer of git-annex, not the file itself; fetch it with git annex get or datalad get",
    b"<!doctype html": "a web page, not the file itself (a failed download?); download it again, logged in if need be",
    b"<html": "a web page, not the file itself (a failed download?); download it again, logged in if need be",
    b"<?xml": "an answer of a server in XML, not the file itself (a failed download?); download it again",
}


def stand_in(content: bytes) -> str:
    """Say what the first bytes show to lie in the place of a file, and what to do; empty if they show nothing."""
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((what for begins, what in STARTS.items() if start.startswith(begins)), "")


def missing_file(path: Path) -> str:
    """Say why there is no file, and what to do: none of the name, or a link to one that is not there."""
    if path.is_symlink():
        return "a link to a file that is not there (not fetched yet?); fetch it, e.g. with git annex get or datalad get"
    return "no such file; check the name or fetch the file again"
