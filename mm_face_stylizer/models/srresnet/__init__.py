"""SRResNet: residual networks that enlarge pictures, and what exports them."""
