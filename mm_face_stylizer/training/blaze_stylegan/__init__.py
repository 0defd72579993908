"""Recipes of BlazeStyleGAN: pretraining, few-shot tuning, and the published distillation."""
