"""The providers' hosts on loopback: TLS, names and URLs as on the Internet, and nothing of them replaced.

A source of keys is told two things that it would not be told in production: an authority to trust, and a
resolver for which every name is here. What it asks for, and of whom, is what the recipe says.
"""

from __future__ import annotations

import datetime
import json
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from provider import Provider

from skeldir_jwt_mw import Issuer, RefreshPolicy, Verifier
from skeldir_jwt_mw.sources import DiscoverySource, JWKSUrlSource, Source
from skeldir_jwt_mw.sources.guard import Address
from skeldir_jwt_mw.testing.issuer_http import Answer, LoopbackServer, answer_json

PATIENCE = 20.0  # seconds for a fetch, on a machine that is busy with other tests
POLICY = RefreshPolicy(jitter=0, floor=0.05, fetch_timeout=PATIENCE, lease=2 * PATIENCE, wait_budget=PATIENCE)

VerifierOf = Callable[[Provider], Verifier]
"""The verifier of a recipe, over the hosts here."""


class Authority:
    """A certificate authority, and a certificate of it for every host, in files of a folder."""

    def __init__(self, folder: Path, hosts: Iterable[str]) -> None:
        self.ca_file, self._chain = folder / "ca.pem", folder / "hosts.pem"
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("ca", "hosts")]
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
        now = datetime.datetime.now(datetime.UTC)
        builders = [
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False
            )
            for name, key in zip(names, keys, strict=True)
        ]
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        root = (
            builders[0]
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(keys[0], hashes.SHA256())
        )
        alternatives = x509.SubjectAlternativeName([x509.DNSName(host) for host in sorted(set(hosts))])
        leaf = builders[1].add_extension(alternatives, critical=False).sign(keys[0], hashes.SHA256())
        self.ca_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        private = keys[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + private)

    def context(self) -> ssl.SSLContext:
        """For a server that is all the hosts."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        return context


class Internet:
    """A server that is every host of `documents`, which are found by their whole URL; a context manager."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]], authority: Authority) -> None:
        self._documents = {url: json.dumps(document) for url, document in documents.items()}
        self._ca_file = authority.ca_file
        self._server = LoopbackServer(self, 0, authority.context())
        self.asked: list[str] = []  # every URL, in order; appended to by the server's threads

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    def publish(self, url: str, document: Mapping[str, Any]) -> None:
        """Replace one document; whoever asks from now on gets it."""
        assert url in self._documents
        self._documents[url] = json.dumps(document)

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request as the host that it names."""
        url = f"https://{headers['host']}{path}"
        self.asked.append(url)
        if method != "GET" or url not in self._documents:
            return answer_json({"error": "not_found"}, 404)
        media = {"Content-Type": "application/json; charset=utf-8"}
        return Answer(status=200, headers=media, body=self._documents[url].encode())

    def count(self, path: str, answer: Answer, by: int) -> None:
        """Nothing is counted here."""

    def resolve(self, host: str, port: int) -> list[Address]:
        """Every name leads here."""
        assert port == 443
        here = ("127.0.0.1", self._server.port)
        return [Address(ip_address(here[0]), socket.AF_INET, here)]

    def source_for(self, recipe: Issuer) -> Source:
        """The source that the verifier would make of a recipe, which resolves names here and trusts us."""
        options: dict[str, Any] = {
            "timeout": PATIENCE,
            "ca_file": self._ca_file,
            "allow_private_hosts": True,
        }
        if recipe.jwks_url is not None:
            source = JWKSUrlSource(recipe.jwks_url, **options)
            source._resolve_with(self.resolve)
            return source
        discovery = DiscoverySource(recipe.issuer, **options)
        discovery._resolve_with(self.resolve)
        return discovery

    def brought_here(self, recipe: Issuer) -> Issuer:
        """The recipe with that source, and unchanged in everything else."""
        assert recipe.source is None
        options = {member.name: getattr(recipe, member.name) for member in fields(Issuer)}
        made = Issuer(**{**options, "jwks_url": None, "source": self.source_for(recipe)})
        for name, value in options.items():
            if name not in ("jwks_url", "source"):
                assert getattr(made, name) == value, name
        return made


def hosts_of(documents: Iterable[str]) -> set[str]:
    """The hosts in some URLs."""
    return {urlsplit(url).netloc for url in documents}
