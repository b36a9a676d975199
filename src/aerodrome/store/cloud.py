"""Objects behind obstore: ``s3://``, ``gs://``, ``az://``, and ``memory://`` for tests.

Conditional writes are the service's own (ETag on S3 and Azure, generation on Google Cloud Storage). Credentials come
from where the services' own tools look: environment variables, web identity, the instance's metadata.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Generator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aerodrome.errors import UsageError
from aerodrome.store.errors import StoreForbidden, StoreUnavailable
from aerodrome.store.objects import UNCHANGED, Entry, Objects, Unchanged

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CHUNK = 1 << 20
# obstore's ClientConfig: these are about the connection, everything else about the service
_CLIENT = frozenset(
    {
        *("allow_http", "allow_invalid_certificates", "http1_only", "http2_only", "randomize_addresses", "user_agent"),
        *("connect_timeout", "read_timeout", "timeout", "pool_idle_timeout", "pool_max_idle_per_host"),
        *("http2_keep_alive_interval", "http2_keep_alive_timeout", "http2_keep_alive_while_idle"),
        *("proxy_url", "proxy_ca_certificate", "proxy_excludes", "root_certificate", "default_content_type"),
    }
)
# `timeout` bounds a whole request, the body of a large archive included; `read_timeout` finds a stalled one early
PATIENCE = {"connect_timeout": "5s", "read_timeout": "20s", "timeout": "15m"}
RETRIES = 4  # after the first attempt; pauses of 0.1 s to 3 s between them
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist|container does not exist", re.I)
_FORBIDDEN = re.compile(r"^(PermissionDenied|Unauthenticated)|status code: 40[13]\b")

_memories: dict[str, ObjectStore] = {}
_memories_lock = threading.Lock()


def memory(url: str) -> ObjectStore:
    """The memory of `url` in this process."""
    from obstore.store import MemoryStore

    with _memories_lock:
        return _memories.setdefault(url.rstrip("/"), MemoryStore())


def service(url: str, options: Mapping[str, str]) -> ObjectStore:
    """The client of the service at `url`.

    Raises:
        UsageError: a URL or an option that obstore does not know, or one that it can not use.
    """
    from obstore.exceptions import BaseError, UnknownConfigurationKeyError
    from obstore.store import from_url

    client: dict[str, Any] = dict(PATIENCE)
    config: dict[str, Any] = {}
    for key, value in options.items():
        (client if key in _CLIENT else config)[key] = value
    retry: Any = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=60),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
    }
    try:
        opened: ObjectStore = from_url(url, config=config, client_options=client, retry_config=retry)  # type: ignore[call-overload]
    except UnknownConfigurationKeyError as error:
        raise UsageError(
            f"store {url}: {first_line(error, options)}", "Correct store_options in aerodrome.yaml."
        ) from None
    except (BaseError, ValueError, TypeError) as error:
        raise UsageError(
            f"store {url}: {first_line(error, options)}", "Correct store and store_options in aerodrome.yaml."
        ) from None
    return opened


def first_line(error: BaseException, options: Mapping[str, str]) -> str:
    """What `error` says, on one line, without what could be a secret."""
    text = str(error).strip().split("\n", 1)[0]
    text = re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", text)
    for key, value in options.items():
        if value and re.search(r"secret|key|token|password|sas|credential", key, re.I):
            text = text.replace(value, "***")
    return text[:400]


class CloudObjects(Objects):
    """Objects of an obstore client."""

    def __init__(self, url: str, client: ObjectStore, options: Mapping[str, str]) -> None:
        self._url = url
        self._client = client
        self._options = options

    def read(self, key: str, tag: str | None = None) -> Entry | Unchanged | None:
        import obstore
        from obstore.exceptions import NotModifiedError

        with self._errors(f"read {key}"):
            try:
                etag = tag.split("\t")[0] if tag else ""
                result = obstore.get(self._client, key, options={"if_none_match": etag} if etag else None)
                return Entry(bytes(result.bytes()), _tag(result.meta))
            except NotModifiedError:
                return UNCHANGED
            except FileNotFoundError as error:
                self._absent(error)
                return None

    def swap(self, key: str, data: bytes, tag: str | None) -> str | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create"
        if tag is not None:
            etag, version = tag.split("\t")
            mode = {k: v for k, v in (("e_tag", etag), ("version", version)) if v}
        with self._errors(f"write {key}"):
            try:
                return _tag(obstore.put(self._client, key, data, mode=mode, use_multipart=False))
            except (AlreadyExistsError, PreconditionError):
                return None
            except FileNotFoundError as error:  # deleted meanwhile
                self._absent(error)
                return None

    def write(self, key: str, data: bytes) -> None:
        import obstore

        with self._errors(f"write {key}"):
            obstore.put(self._client, key, data)

    def upload(self, key: str, path: Path) -> None:
        import obstore

        with self._errors(f"write {key}"):
            obstore.put(self._client, key, path)

    def delete(self, key: str) -> None:
        import obstore

        with self._errors(f"delete {key}"):
            try:
                obstore.delete(self._client, key)
            except FileNotFoundError as error:
                self._absent(error)

    def size(self, key: str) -> int | None:
        import obstore

        with self._errors(f"read {key}"):
            try:
                return obstore.head(self._client, key)["size"]
            except FileNotFoundError as error:
                self._absent(error)
                return None

    def list(self, folder: str) -> Iterator[str]:
        import obstore

        with self._errors(f"list {folder or 'everything'}"):
            found = [meta["path"] for batch in obstore.list(self._client, folder or None) for meta in batch]
        return iter(sorted(found, key=str.encode))

    def chunks(self, key: str) -> Generator[bytes, None, None] | None:
        import obstore

        with self._errors(f"read {key}"):
            try:
                stream = obstore.get(self._client, key).stream(min_chunk_size=_CHUNK)
            except FileNotFoundError as error:
                self._absent(error)
                return None
        return self._stream(iter(stream), key)

    def _stream(self, stream: Iterator[Any], key: str) -> Generator[bytes, None, None]:
        while True:
            with self._errors(f"read {key}"):
                chunk = next(stream, None)
            if chunk is None:
                return
            yield bytes(chunk)

    def _absent(self, error: FileNotFoundError) -> None:
        """None, unless it is the whole bucket that is absent: services answer both with the same status."""
        if _NO_BUCKET.search(str(error)):
            raise self._no_bucket() from None

    def _no_bucket(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"store {self._url}: the bucket or container does not exist",
            "Create it, or correct store in aerodrome.yaml.",
        )

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            text = str(error)
            if _NO_BUCKET.search(text):
                raise self._no_bucket() from None
            # obstore has exceptions for these two, and does not raise them where it lists
            if _FORBIDDEN.search(type(error).__name__ + text):
                raise StoreForbidden(
                    f"store {self._url}: not allowed to {doing}: {first_line(error, self._options)}",
                    "Check the credentials that this process was given and the bucket's policy.",
                ) from None
            raise StoreUnavailable(
                f"store {self._url}: can not {doing}: {first_line(error, self._options)}",
                "Check the address and the network between this machine and the store; it is tried again.",
            ) from None


def _tag(meta: Mapping[str, Any]) -> str:
    return f"{meta['e_tag'] or ''}\t{meta['version'] or ''}"
