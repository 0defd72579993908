"""The host's public key as adb sends it, which verifies the host's signature of a token.

The format is AOSP's libcrypto_utils/android_pubkey.cpp: base64 of the number of 32-bit words in the
modulus, -1 / modulus[0] mod 2^32, the modulus, R^2 mod the modulus and the exponent, all little
endian; then a space and the user's name.
"""

import base64
import dataclasses
import struct
from typing import Final

TOKEN_SIZE: Final = 20
_WORDS: Final = 64
_SIZE: Final = 4 * _WORDS
# The DigestInfo of SHA-1 (RFC 8017). adb signs the token as if it were a SHA-1 digest.
_SHA1_PREFIX: Final = bytes.fromhex("3021300906052b0e03021a05000414")


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """An RSA public key of 2048 bits."""

    modulus: int
    exponent: int

    @classmethod
    def parse(cls, text: bytes) -> "PublicKey":
        """Reads the payload of an AUTH message.

        Raises:
          ValueError: the payload is not a key of 2048 bits.
        """
        blob = base64.b64decode(text.rstrip(b"\0").split()[0])
        (words,) = struct.unpack_from("<I", blob)
        if words != _WORDS:
            raise ValueError(f"the modulus has {words} words; those of adb's keys have {_WORDS}")
        modulus = int.from_bytes(blob[8 : 8 + _SIZE], "little")
        (exponent,) = struct.unpack_from("<I", blob, 8 + 2 * _SIZE)
        return cls(modulus, exponent)

    def verifies(self, token: bytes, signature: bytes) -> bool:
        """Returns whether `signature` is a PKCS #1 v1.5 signature of `token` by this key."""
        digest = _SHA1_PREFIX + token
        padded = b"\0\1" + b"\xff" * (_SIZE - 3 - len(digest)) + b"\0" + digest
        signed = pow(int.from_bytes(signature, "big"), self.exponent, self.modulus)
        return signed == int.from_bytes(padded, "big")
