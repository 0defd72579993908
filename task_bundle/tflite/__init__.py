"""TFLite models: checks of untrusted files, metadata, and the interpreter."""
