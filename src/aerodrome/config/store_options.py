"""The options that obstore takes for each kind of store, which of them are secrets, and the URLs that it opens.

Source: obstore 0.12, ``obstore/_store/{_aws,_gcs,_azure,_client}.pyi``.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from aerodrome.names import nearest

Family = Literal["s3", "gs", "az", "file"]

FAMILIES: dict[str, Family] = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "az": "az",
    "azure": "az",
    "adl": "az",
    "abfs": "az",
    "abfss": "az",
    "file": "file",
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CLIENT_OPTIONS = _words(
    "allow_http allow_invalid_certificates connect_timeout http1_only http2_only http2_keep_alive_interval "
    "http2_keep_alive_timeout http2_keep_alive_while_idle pool_idle_timeout pool_max_idle_per_host proxy_url "
    "proxy_ca_certificate proxy_excludes root_certificate timeout user_agent"
)
"""Options of the HTTP client: obstore takes them apart from the store's own."""

OPTIONS: dict[Family, frozenset[str]] = {
    "s3": _words(
        "access_key_id checksum_algorithm container_credentials_relative_uri container_credentials_full_uri "
        "container_authorization_token_file default_region disable_tagging disable_bulk_delete endpoint "
        "imdsv1_fallback metadata_endpoint region request_payer role_arn role_session_name s3_express "
        "secret_access_key server_side_encryption session_token skip_signature sse_bucket_key_enabled "
        "sse_customer_key_base64 sse_kms_key_id unsigned_payload virtual_hosted_style_request "
        "web_identity_token_file"
    ),
    "gs": _words("service_account service_account_key base_url bearer_token application_credentials skip_signature"),
    "az": _words(
        "account_name account_key client_id client_secret credential_type tenant_id authority_host sas_key token "
        "use_emulator use_fabric_endpoint encryption_key endpoint msi_endpoint object_id msi_resource_id "
        "federated_token_file use_azure_cli skip_signature disable_tagging fabric_token_service_url "
        "fabric_workload_host fabric_session_token fabric_cluster_identifier"
    ),
    "file": frozenset(),
}

SECRET_OPTIONS = _words(
    "access_key_id secret_access_key session_token sse_customer_key_base64 service_account_key bearer_token "
    "account_key client_secret sas_key token encryption_key fabric_session_token"
)
"""Options whose value is a secret; ``access_key_id`` is none by itself and may be written either way."""

MUST_BE_PLACES = SECRET_OPTIONS - {"access_key_id"}

# The store needs the compare-and-swap and the bucket of its own contract.
_OURS = {"bucket", "container_name", "conditional_put", "copy_if_not_exists"}


def store_url_problem(url: str) -> tuple[str, str] | None:
    """What is wrong with the URL of a store, and what to do; None when nothing is."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return f"is not a URL: {error}", "for example s3://bucket/prefix"
    scheme = parts.scheme.lower()
    if "://" not in url:
        return "is not a URL", f"a folder of this machine is file://{url if url.startswith('/') else '/absolute/path'}"
    if parts.username or parts.password:
        if FAMILIES.get(scheme) == "az" and parts.password is None:
            return None  # abfss://container@account...
        return "must not hold a user or password", "give store_options places of secrets, or use the cloud's identity"
    if scheme == "memory":
        return "memory:// is not shared between processes", "use file:///absolute/path"
    if scheme not in FAMILIES:
        guess = nearest(scheme, FAMILIES)
        return f"no store opens {scheme}://", f"did you mean {guess}://?" if guess else "use s3, gs, az or file"
    if parts.query or parts.fragment:
        return "must not hold ? or #", "options belong into store_options"
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            return "a file URL has three slashes and an absolute path", "write file:///absolute/path"
    elif not parts.netloc:
        return "names no bucket", f"write {scheme}://bucket/prefix"
    return None


def option_problem(family: Family, name: str) -> tuple[str, str] | None:
    """What is wrong with the name of an option for that kind of store; None when nothing is."""
    plain = name.removeprefix("aws_").removeprefix("azure_").removeprefix("google_")
    if plain in _OURS:
        return "is set by Aerodrome itself", "remove it"
    known = OPTIONS[family] | (CLIENT_OPTIONS if family != "file" else frozenset())
    if name in known:
        return None
    if family == "file":
        return "a file:// store has no options", "remove it"
    guess = plain if plain in known else nearest(name, known)
    return f"obstore has no such option for {family}://", f"did you mean {guess!r}?" if guess else ""
