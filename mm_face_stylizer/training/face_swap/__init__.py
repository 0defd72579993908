"""Training of face swapping: a teacher without weights, pairs, distillation, refinement."""
