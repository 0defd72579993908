"""Face swapping: the generator, the network that predicts its weights, and what exports them."""
