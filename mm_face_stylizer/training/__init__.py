"""Pretraining, few-shot training, and the losses they share."""
