"""Latencies on phones that the authors of BlazeStyleGAN published, for reference."""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = (
    "Jia et al., BlazeStyleGAN: A Real-Time On-Device StyleGAN, CVPR Workshops 2023; networks"
    " alone, on the phone's GPU"
)


@dataclass(frozen=True)
class PublishedLatency:
    """A row of the published table.

    Attributes:
      phone: Phone on which it was measured.
      synthesis_ms: Time of BlazeStyleGAN-256, latent to picture, in milliseconds.
      encoder_ms: Time of the encoder, photo to latent, in milliseconds; a stylizer needs both.
    """

    phone: str
    synthesis_ms: float
    encoder_ms: float


PUBLISHED = (
    PublishedLatency("iPhone 11", 12.14, 11.48),
    PublishedLatency("iPhone 12", 11.99, 12.25),
    PublishedLatency("iPhone 13 Pro", 7.22, 5.41),
    PublishedLatency("Pixel 6", 12.24, 11.23),
    PublishedLatency("Galaxy S10", 17.01, 12.70),
    PublishedLatency("Galaxy S20", 8.95, 8.20),
)
