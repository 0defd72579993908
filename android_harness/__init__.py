"""The benchmark on Android phones, driven through Google's `adb`."""
