"""Foreign authorities that an operator trusts to say who an agent is: the `[trust.NAME]` tables of the settings."""

from __future__ import annotations

from typing import Annotated

import msgspec

_DOMAIN = r"^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?\Z"
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class _Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """Root of the kinds of trust."""


class SvidTrust(_Trust, frozen=True, kw_only=True, tag="x509-svid"):
    """Agents that are registered under a SPIFFE ID of `trust_domain` prove themselves by its X.509-SVIDs.

    `bundle`: a PEM file with the authorities of that domain.
    """

    trust_domain: Annotated[str, msgspec.Meta(pattern=_DOMAIN)]
    bundle: _Text


class TokenTrust(_Trust, frozen=True, kw_only=True, tag="oidc"):
    """A provider of OpenID Connect: `issuer` and `audience` as its tokens say them, its keys (a JWK set) in a file.

    `agents`: which agent (id or short name) each subject proves to be.
    """

    issuer: _Text
    audience: _Text
    jwks: _Text
    agents: dict[str, str]


Trust = SvidTrust | TokenTrust
