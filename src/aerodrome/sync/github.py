"""Tokens of a GitHub App: an hour long, for one installation, exchanged for a signed claim."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from datetime import datetime
from email.message import Message
from typing import IO

from aerodrome.config.model import GithubAppKey
from aerodrome.errors import AerodromeError
from aerodrome.secrets import SecretPlace
from aerodrome.sync.failures import RepositoryFailure
from aerodrome.sync.remote import Remote

_TIMEOUT = 15.0
_EARLY = 300.0
"""Seconds before its end at which a token is exchanged for a new one: longer than a fetch takes."""


class AppTokens:
    """The current token of one installation.

    Source: GitHub's documentation, "Generating a JSON Web Token (JWT) for a GitHub App" and "Create an installation
    access token for an app".

    Args:
        app: which app and installation, and where its private key is.
        remote: the repository; its host says which GitHub (github.com or an Enterprise server).
        ca: authority that vouches for that host, when it is not one of the machine's.
    """

    def __init__(self, app: GithubAppKey, remote: Remote, ca: SecretPlace | None) -> None:
        if remote.scheme not in {"https", "http"}:
            raise AerodromeError(
                f"A GitHub App opens repositories over https only, not {remote.url}.", "Write https://HOST/PATH."
            )
        self._app = app
        self._ca = ca
        base = app.api or ("https://api.github.com" if remote.host == "github.com" else f"{remote.origin}/api/v3")
        self._url = f"{base.rstrip('/')}/app/installations/{app.installation_id}/access_tokens"
        self._token = ""
        self._until = 0.0

    @property
    def ends_soon(self) -> bool:
        """Whether there is no token that lasts for a fetch."""
        return time.time() > self._until - _EARLY

    def token(self) -> str:
        """The token, from GitHub when there is none or it ends soon. Blocks.

        Raises:
            RepositoryFailure: GitHub can not be reached or says no.
            AerodromeError: the private key is none, or the library that signs is missing.
        """
        if self.ends_soon:
            self._token, self._until = self._exchange()
        return self._token

    def _exchange(self) -> tuple[str, float]:
        request = urllib.request.Request(  # noqa: S310
            self._url,
            method="POST",
            headers={
                "Authorization": f"Bearer {self._claim()}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "aerodrome",
            },
        )
        context = ssl.create_default_context(cadata=self._ca.read()) if self._ca else ssl.create_default_context()
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())
        try:
            with opener.open(request, timeout=_TIMEOUT) as answer:
                found = json.loads(answer.read(1 << 16))
            return str(found["token"]), datetime.fromisoformat(found["expires_at"].replace("Z", "+00:00")).timestamp()
        except urllib.error.HTTPError as error:
            with error:
                said = _message(error.read(1 << 16))
            raise RepositoryFailure(
                f"GitHub gives app {self._app.app_id} no token for installation {self._app.installation_id}: "
                f"{error.code} {said}",
                "Check app_id, installation_id and private_key of the team's `github_app`, and the machine's clock.",
            ) from None
        except (OSError, ValueError, KeyError) as error:
            why = getattr(error, "reason", None) or error
            raise RepositoryFailure(
                f"Can not exchange the claim of GitHub App {self._app.app_id} for a token: {why}",
                "Check whether this machine reaches GitHub's API; it is tried again by itself.",
            ) from None

    def _claim(self) -> str:
        # cryptography, not the openssl program: the key stays in memory, and Airflow brings the library along anyway.
        try:
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import padding, rsa
        except ImportError:
            raise AerodromeError(
                "A GitHub App needs the library `cryptography`, which is not installed.",
                "Install it: pip install 'aerodrome[github-app]'",
            ) from None
        place = self._app.private_key
        try:
            key = serialization.load_pem_private_key(place.read().encode(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise AerodromeError(
                f"The {place.describe()} holds no RSA private key (PEM, without a passphrase).",
                "Generate a private key in the GitHub App's settings, and put the whole file there.",
            )
        now = int(time.time())
        # A minute back, as GitHub advises, for clocks that differ; at most ten minutes long.
        claims = {"iat": now - 60, "exp": now + 540, "iss": str(self._app.app_id)}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        return signed + "." + _base64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The claim is for one host: urllib would send it on to wherever a redirect leads."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return ""
