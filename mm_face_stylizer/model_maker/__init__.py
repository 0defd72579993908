"""The plug-in into Google's own mediapipe_model_maker."""
