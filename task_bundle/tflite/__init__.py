"""TFLite models: the wall against strangers' files, metadata, and the interpreter."""
