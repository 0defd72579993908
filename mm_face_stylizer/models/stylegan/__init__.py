"""StyleGAN2, the teacher of the published recipe."""
