"""Latencies that others published, for reference. None was measured here."""

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
      phone: what it was measured on.
      synthesis_ms: BlazeStyleGAN-256, latent to picture.
      encoder_ms: the encoder, photo to latent; a stylizer needs both.
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
