"""Measures bundles on Android phones through Google's adb client."""
