"""Recipe of SRResNet: patches of pictures, a pixel loss, then a perceptual one."""
