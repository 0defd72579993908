"""Installs a preset of this package for Google's mediapipe_model_maker."""
