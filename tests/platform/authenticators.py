"""What people have beside a password, for tests: an authenticator app, and a passkey as a browser keeps one."""

import json
from dataclasses import dataclass, field
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from django.utils import timezone
from fido2.cose import ES256
from fido2.utils import sha256, websafe_decode, websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from tests import factories

STEP_S = 30
HOST = "localhost"
ORIGIN = f"http://{HOST}"
FLAG = AuthenticatorData.FLAG


def code(secret: str, *, steps: int = 0) -> str:
    """What the app shows so many steps of 30 seconds from now."""
    return str(format_hotp_value(hotp_value(secret, int(timezone.now().timestamp()) // STEP_S + steps)))


def prove_again(client: Client) -> None:
    """Enter the password once more, as what matters asks for."""
    client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})


def with_app(client: Client) -> str:
    """Set an authenticator app up for whoever is signed in; the secret. Its code of the step before is used."""
    prove_again(client)
    client.get("/accounts/2fa/totp/activate/")
    secret = str(client.session["mfa.totp.secret"])
    answer = client.post("/accounts/2fa/totp/activate/", {"code": code(secret, steps=-1)})
    assert answer.status_code == 302, answer.content.decode()
    return secret


@dataclass
class Passkey:
    """One that verifies its user, as a phone does. Its pages are asked for by the name of the host, see HOST."""

    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    id: bytes = b"a passkey of the tests"
    user_handle: bytes = b""

    def made(self, options: dict[str, Any], *, origin: str = ORIGIN) -> str:
        """The credential that a browser makes of creation options."""
        public = options["publicKey"]
        self.user_handle = _bytes(public["user"]["id"])
        public_key = ES256.from_cryptography_key(self.private.public_key())  # type: ignore[no-untyped-call]
        data = AuthenticatorData.create(
            sha256(HOST.encode()),
            FLAG.UP | FLAG.UV | FLAG.AT,
            0,
            AttestedCredentialData.create(b"\0" * 16, self.id, public_key),
        )
        client_data = CollectedClientData.create("webauthn.create", _bytes(public["challenge"]), origin)
        attested = AttestationObject.create("none", data, {})
        return self._told(
            {"clientDataJSON": websafe_encode(client_data), "attestationObject": websafe_encode(attested)},
            {"credProps": {"rk": True}},
        )

    def signed(self, options: dict[str, Any], *, origin: str = ORIGIN) -> str:
        """The credential that a browser answers request options with."""
        client_data = CollectedClientData.create(
            "webauthn.get", _bytes(options["publicKey"]["challenge"]), origin
        )
        data = AuthenticatorData.create(sha256(HOST.encode()), FLAG.UP | FLAG.UV, 1)
        signature = self.private.sign(data + client_data.hash, ec.ECDSA(hashes.SHA256()))
        return self._told(
            {
                "clientDataJSON": websafe_encode(client_data),
                "authenticatorData": websafe_encode(data),
                "signature": websafe_encode(signature),
                "userHandle": websafe_encode(self.user_handle),
            },
            {},
        )

    def _told(self, response: dict[str, str], extensions: dict[str, Any]) -> str:
        return json.dumps(
            {
                "id": websafe_encode(self.id),
                "rawId": websafe_encode(self.id),
                "type": "public-key",
                "clientExtensionResults": extensions,
                "response": response,
            }
        )


def _bytes(given: Any) -> bytes:
    return given if isinstance(given, bytes) else websafe_decode(given)
