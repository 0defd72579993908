"""BlazeStyleGAN: encoder, synthesis network, face prior, and what exports them together."""
