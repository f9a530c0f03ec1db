"""Proxy of the environment (http_proxy and its kind) through which a tracker is asked, and what names it."""

import os
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Proxy:
    """Proxy of an environment variable; as text without its credentials."""

    variable: str
    address: str = field(repr=False)

    def __str__(self) -> str:
        parts = urlsplit(self.address if "://" in self.address else f"http://{self.address}")
        return f"{parts.netloc.rpartition('@')[2]} of {self.variable}"


def proxy_for(uri: str) -> Proxy | None:
    """Return the proxy of requests to an address, as MLflow's client takes it; None where there is none."""
    parts = urlsplit(uri)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    for variable in (f"{parts.scheme}_proxy", f"{parts.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        if address := os.environ.get(variable):
            return Proxy(variable, address)
    return None
